"""The official Anthropic client."""

import anthropic
import httpx2
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from harness import GATEWAY, calls, done, expect, key, never, raises, twice
from schemas import check_frames, check_json

TOOLS = [{"name": "weather", "description": "Weather in a city.",
          "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]


def client(**options):
    """A client with a credential of its own."""
    return anthropic.Anthropic(base_url=f"http://{GATEWAY}", api_key=key(), **{"max_retries": 0, **options})


def asking(text, **more):
    """A request with one user message."""
    return {"model": "answers", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


def streamed(sdk, **request):
    """The text of the deltas, and the message that the helper adds up."""
    with sdk.messages.stream(**request) as events:
        text = "".join(events.text_stream)
        return text, events.get_final_message()


def messages():
    """Messages in both shapes."""
    sdk = client()
    ask = lambda text, **more: sdk.messages.create(**asking(text, **more))
    whole = twice("message", lambda: ask("Capital of France?"))
    text, _ = twice("stream", lambda: streamed(sdk, **asking("Capital of Spain?")))
    expect("a stream of what came as JSON", calls("shape", 0, lambda: streamed(sdk, **asking("Capital of France?")))[0], whole["content"][0]["text"])
    expect("JSON of what came as a stream", calls("shape", 0, lambda: ask("Capital of Spain?")).content[0].text, text)
    called = twice("tool call", lambda: ask("Weather in Paris?", tools=TOOLS))
    expect("its input", called["content"][0]["input"], {"city": "Paris"})
    _, final = calls("shape", 0, lambda: streamed(sdk, **asking("Weather in Paris?", tools=TOOLS)))
    expect("streamed", final.content[0].input, {"city": "Paris"})
    turns = [{"role": "user", "content": "Weather in Paris?"},
             {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}]},
             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "18 degrees"}]}]
    twice("tool result", lambda: sdk.messages.create(model="answers", max_tokens=100, messages=turns, tools=TOOLS))
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    twice("image", lambda: ask([image, {"type": "text", "text": "What is this?"}]))
    cached = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    ask("Capital of Peru?", system="Be brief.")
    calls("a mark of the provider's own cache", 0, lambda: ask("Capital of Peru?", system=cached))
    calls("another token limit", 0, lambda: ask("Capital of France?", max_tokens=64))


def errors():
    """What fails, fails as at the provider."""
    for status, kind in [(401, anthropic.AuthenticationError), (404, anthropic.NotFoundError), (422, anthropic.UnprocessableEntityError),
                         (429, anthropic.RateLimitError), (500, anthropic.InternalServerError)]:
        sdk = client()
        fail = lambda: sdk.messages.create(**asking("?", model=f"fail-{status}-1"))
        error = raises(f"{status}", kind, lambda: calls("an error", 1, fail))
        expect("its message", "on demand" in str(error), True)
    sdk = client(max_retries=2)
    retried = lambda: sdk.messages.with_raw_response.create(**asking("Capital of Chile?", model="fail-500-2"))
    expect("retries", calls("a retried request", 3, retried).retries_taken, 2)
    expect("no retries on a hit", calls("then a hit", 0, retried).retries_taken, 0)
    only = {"extra_headers": {"cache-control": "only-if-cached"}}
    error = raises("only-if-cached", anthropic.APIStatusError,
                   lambda: calls("only-if-cached", 0, lambda: sdk.messages.create(**asking("New?"), **only)))
    expect("its status", error.status_code, 504)
    sdk = client()
    for time in ("first", "second"):
        cut = lambda: streamed(sdk, **asking("Cut?", model="cut-4"))
        raises(f"a stream cut short, {time}", (httpx2.RemoteProtocolError, anthropic.APIError), lambda: calls("cut", 1, cut))
    never("an answer that ran out of tokens", lambda: sdk.messages.create(**asking("Long?", model="length")))
    calls("another credential", 1, lambda: client().messages.create(**asking("Capital of Chile?", model="fail-500-0")))


def schemas():
    """Replays against the SDK's types."""
    headers, url = {"x-api-key": key(), "anthropic-version": "2023-06-01"}, f"http://{GATEWAY}/v1/messages"
    for body in (asking("Schema?"), asking("Weather in Paris?", tools=TOOLS)):
        check_json(url, headers, body, Message)
        check_frames(url, headers, {**body, "stream": True}, TypeAdapter(RawMessageStreamEvent))


for checks in (messages, errors, schemas):
    checks()
done("anthropic (Python)")
