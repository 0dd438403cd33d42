"""The official OpenAI client: chat completions, responses and embeddings."""

import httpx
import openai
from pydantic import BaseModel, TypeAdapter

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.create_embedding_response import CreateEmbeddingResponse
from openai.types.responses import Response, ResponseStreamEvent

from harness import GATEWAY, calls, done, expect, key, never, raises, twice
from schemas import check_frames, check_json

WEATHER = {"name": "weather", "description": "Weather in a city.",
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
CHAT_TOOLS = [{"type": "function", "function": WEATHER}]
PNG = "data:image/png;base64,iVBORw0KGgo="


class Place(BaseModel):
    """What structured output is asked for."""

    city: str
    country: str


def client(**options):
    """A client with a credential of its own."""
    return openai.OpenAI(base_url=f"http://{GATEWAY}/v1", api_key=key(), **{"max_retries": 0, **options})


def user(text):
    """One user message."""
    return [{"role": "user", "content": text}]


def added(stream):
    """What the chunks of a chat stream add up to."""
    text, finish, usage, tools = "", None, None, ""
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
            tools += "".join(call.function.arguments or "" for call in choice.delta.tool_calls or [])
    return text, finish, usage, tools


def chat():
    """Chat completions."""
    sdk = client()
    ask = lambda text, **more: sdk.chat.completions.create(model="answers", messages=user(text), **more)
    whole = twice("chat", lambda: ask("Capital of France?"))
    streamed = twice("chat stream", lambda: added(ask("Capital of Spain?", stream=True)))
    expect("no usage unasked for", streamed[2], None)
    used = twice("chat stream with usage", lambda: added(ask("Capital of Peru?", stream=True, stream_options={"include_usage": True})))
    expect("usage asked for", used[2]["total_tokens"], 16)
    expect("a stream of what came as JSON", calls("shape", 0, lambda: added(ask("Capital of France?", stream=True)))[0],
           whole["choices"][0]["message"]["content"])
    expect("JSON of what came as a stream", calls("shape", 0, lambda: ask("Capital of Spain?")).choices[0].message.content, streamed[0])

    tools = twice("tool call", lambda: ask("Weather in Paris?", tools=CHAT_TOOLS))
    expect("its arguments", tools["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], '{"city": "Paris"}')
    expect("streamed", calls("shape", 0, lambda: added(ask("Weather in Paris?", tools=CHAT_TOOLS, stream=True)))[3], '{"city": "Paris"}')
    with sdk.chat.completions.stream(model="answers", messages=user("Weather in Paris?"), tools=CHAT_TOOLS) as events:
        expect("the helper", events.get_final_completion().choices[0].message.tool_calls[0].function.name, "weather")
    turn = tools["choices"][0]["message"]
    result = [*user("Weather in Paris?"), {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_1", "type": "function", "function": turn["tool_calls"][0]["function"]}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"}]
    twice("tool result", lambda: sdk.chat.completions.create(model="answers", messages=result, tools=CHAT_TOOLS))

    parsed = twice("structured output", lambda: sdk.chat.completions.parse(
        model="answers", messages=user("Where is the Louvre?"), response_format=Place).choices[0].message.parsed)
    expect("parsed", parsed, {"city": "Paris", "country": "France"})
    image = lambda data: sdk.chat.completions.create(model="answers", messages=[{"role": "user", "content": [
        {"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": data}}]}])
    twice("image", lambda: image(PNG))
    calls("another image", 1, lambda: image(PNG.replace("iVBOR", "iVBOS")))
    history = lambda country: [*user(f"Capital of {country}?"), {"role": "assistant", "content": "Yes."}, *user("And its river?")]
    turns = lambda country: sdk.chat.completions.create(model="answers", messages=history(country))
    twice("turns", lambda: turns("France"))
    calls("the same turn after others", 1, lambda: turns("Spain"))


def errors():
    """What fails, fails as at the provider."""
    for status, kind in [(401, openai.AuthenticationError), (404, openai.NotFoundError), (422, openai.UnprocessableEntityError),
                         (429, openai.RateLimitError), (500, openai.InternalServerError)]:
        sdk = client()
        for stream in (False, True):
            fail = lambda: sdk.chat.completions.create(model=f"fail-{status}-2", messages=user("?"), stream=stream)
            error = raises(f"{status}", kind, lambda: calls("an error", 1, fail))
            expect("its request id", error.request_id is not None, True)
            expect("its message", "on demand" in str(error), True)
    sdk = client(max_retries=2)
    retried = lambda: sdk.chat.completions.with_raw_response.create(model="fail-429-1", messages=user("Capital of Chile?"))
    expect("retries", calls("a retried request", 2, retried).retries_taken, 1)
    expect("no retries on a hit", calls("then a hit", 0, retried).retries_taken, 0)
    only = {"extra_headers": {"cache-control": "only-if-cached"}}
    error = raises("only-if-cached", openai.APIStatusError,
                   lambda: calls("only-if-cached", 0, lambda: sdk.chat.completions.create(model="answers", messages=user("New?"), **only)))
    expect("one call of the gateway", (error.status_code, error.response.headers["x-should-retry"]), (504, "false"))
    sdk = client()
    cut = lambda: added(sdk.chat.completions.create(model="cut-3", messages=user("Cut?"), stream=True))
    for time in ("first", "second"):
        raises(f"a stream cut short, {time}", (httpx.RemoteProtocolError, openai.APIConnectionError), lambda: calls("cut", 1, cut))
    never("an answer that ran out of tokens", lambda: sdk.chat.completions.create(model="length", messages=user("Long?")))
    fresh = lambda: sdk.chat.completions.create(model="answers", messages=user("Capital of Kenya?"), extra_headers={"cache-control": "no-cache"})
    never("no-cache", fresh)
    other = client()
    calls("another credential", 1, lambda: other.chat.completions.create(model="answers", messages=user("Capital of Kenya?")))


def responses():
    """Responses."""
    sdk = client()
    ask = lambda text, **more: sdk.responses.create(model="answers", input=text, **more)
    whole = twice("response", lambda: ask("Capital of France?", instructions="Be brief."))
    def stream(text):
        with sdk.responses.stream(model="answers", input=text) as events:
            kinds = [event.type for event in events]
            return kinds[0], kinds[-1], events.get_final_response().output_text
    twice("response stream", lambda: stream("Capital of Spain?"))
    listed = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "input_text", "text": "Capital of France?"}]}]
    expect("the same in items", calls("items", 0, lambda: ask(listed)).output_text, whole["output"][0]["content"][0]["text"])
    first = ask("Capital of France?", instructions="Be brief.")
    second = ask("Capital of France?", instructions="Be brief.")
    expect("a handle is kept", second.id, first.id)
    tools = [{"type": "function", "strict": False, **WEATHER}]
    called = twice("tool call", lambda: ask("Weather in Paris?", tools=tools))
    expect("its arguments", called["output"][0]["arguments"], '{"city": "Paris"}')
    expect("parsed", twice("structured output", lambda: sdk.responses.parse(
        model="answers", input="Where is the Louvre?", text_format=Place).output_parsed), {"city": "Paris", "country": "France"})
    never("previous_response_id", lambda: ask("And its river?", previous_response_id=first.id))


def embeddings():
    """Embeddings."""
    sdk = client()
    embed = lambda texts, **more: sdk.embeddings.create(model="embeds", input=texts, **more)
    pair = twice("embeddings", lambda: embed(["one", "two"]))
    expect("floats", calls("one of them", 0, lambda: embed(["two"], encoding_format="float")).data[0].embedding, pair["data"][1]["embedding"])
    calls("some of them", 1, lambda: embed(["one", "three"]))
    twice("token ids", lambda: embed([[1, 2, 3]]))


def schemas():
    """Replayed bodies and frames against the SDK's types, which are made from the API's OpenAPI description."""
    headers = {"authorization": f"Bearer {key()}"}
    for path, body, whole, frame in [
        ("chat/completions", {"messages": user("Schema?")}, ChatCompletion, ChatCompletionChunk),
        ("chat/completions", {"messages": user("Weather in Paris?"), "tools": CHAT_TOOLS}, ChatCompletion, ChatCompletionChunk),
        ("chat/completions", {"messages": user("Usage?"), "stream_options": {"include_usage": True}}, ChatCompletion, ChatCompletionChunk),
        ("responses", {"input": "Schema?"}, Response, TypeAdapter(ResponseStreamEvent)),
        ("responses", {"input": "Weather in Paris?", "tools": [{"type": "function", **WEATHER, "strict": False}]}, Response, TypeAdapter(ResponseStreamEvent)),
    ]:
        url, body = f"http://{GATEWAY}/v1/{path}", {"model": "answers", **body}
        if "stream_options" not in body:
            check_json(url, headers, body, whole)
        check_frames(url, headers, {**body, "stream": True}, frame)
    check_json(f"http://{GATEWAY}/v1/embeddings", headers, {"model": "embeds", "input": "Schema?"}, CreateEmbeddingResponse)


for checks in (chat, errors, responses, embeddings, schemas):
    checks()
done("openai (Python)")
