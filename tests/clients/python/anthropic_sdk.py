"""The official Anthropic client."""

import anthropic
import httpx2
from pydantic import BaseModel

from harness import GATEWAY, PLAIN_GATEWAY, PNG, does, expect, hits, key, never, news, raises, retries, run, twice

TOOLS = [
    {
        "name": "weather",
        "description": "Weather in a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


class Place(BaseModel):
    """What structured output is asked for."""

    city: str
    country: str


def client(gateway=GATEWAY, **options):
    """A client with a credential of its own."""
    return anthropic.Anthropic(base_url=f"http://{gateway}", api_key=key(), **{"max_retries": 0, **options})


def asking(text, **more):
    """A request with one user message."""
    return {"model": "answers", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


def streamed(sdk, **request):
    """The text of the deltas, and the message that the helper adds up."""
    with sdk.messages.stream(**request) as events:
        text = "".join(events.text_stream)
        return text, events.get_final_message()


def messages():
    """Both shapes, and each from the other."""
    sdk = client()
    ask = lambda text, **more: sdk.messages.create(**asking(text, **more))
    stream = lambda text, **more: streamed(sdk, **asking(text, **more))
    whole = twice("JSON", lambda: ask("Capital of France?"))
    text, final = twice("stream", lambda: stream("Capital of Spain?"))
    expect(
        "a stream of what came as JSON",
        hits("shape", lambda: stream("Capital of France?"))[0],
        whole["content"][0]["text"],
    )
    later = hits("shape", lambda: ask("Capital of Spain?"))
    expect("JSON of what came as a stream", (later["content"][0]["text"], later["usage"]), (text, final["usage"]))
    expect("an id of its own", ask("Capital of France?").id == ask("Capital of France?").id, False)
    raw = hits("raw", lambda: [event.type for event in ask("Capital of Spain?", stream=True)])
    expect("raw events", (raw[0], raw[-1]), ("message_start", "message_stop"))
    thinking = {"type": "enabled", "budget_tokens": 1024}
    thought = twice(
        "thinking", lambda: ask("Why is the sky blue?", model="thinks", max_tokens=2000, thinking=thinking)
    )["content"]
    again = hits("shape", lambda: stream("Why is the sky blue?", model="thinks", max_tokens=2000, thinking=thinking))[
        1
    ]["content"]
    expect(
        "its signature",
        (again[0]["thinking"], again[0]["signature"]),
        (thought[0]["thinking"], thought[0]["signature"]),
    )


def turns():
    """Many turns, images, and what may differ."""
    sdk = client()
    ask = lambda text, **more: sdk.messages.create(**asking(text, **more))
    after = lambda country: [
        {"role": "user", "content": f"Capital of {country}?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "And its river?"},
    ]
    twice("turns", lambda: ask("", messages=after("France")))
    does("the same turn after others", "miss", lambda: ask("", messages=after("Spain")))
    image = lambda data: ask(
        [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
            {"type": "text", "text": "What is this?"},
        ]
    )
    twice("image", lambda: image(PNG))
    does("another image", "miss", lambda: image(PNG.replace("iVBOR", "iVBOS")))
    twice("a system text", lambda: ask("Capital of Peru?", system="Be brief."))
    marked = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    hits("a mark of the provider's own cache", lambda: ask("Capital of Peru?", system=marked))
    hits("another token limit", lambda: ask("Capital of Peru?", system="Be brief.", max_tokens=64))
    does("a beta", "miss", lambda: ask("Capital of Peru?", system="Be brief.", extra_headers={"anthropic-beta": "b-1"}))


def tools():
    """Calls in both shapes, and the way back."""
    sdk = client()
    ask = lambda text, **more: sdk.messages.create(**asking(text, tools=TOOLS, **more))
    called = twice("call", lambda: ask("Weather in Paris?"))["content"]
    expect("input", called[0]["input"], {"city": "Paris"})
    again = hits("shape", lambda: streamed(sdk, **asking("Weather in Paris?", tools=TOOLS)))[1]["content"]
    expect("streamed", (again[0]["id"], again[0]["input"]), (called[0]["id"], called[0]["input"]))
    two = twice("two calls streamed", lambda: streamed(sdk, **asking("Weather in both?", tools=TOOLS)))[1]["content"]
    expect("their inputs", [block["input"]["city"] for block in two], ["Paris", "Rome"])
    empty = [{**TOOLS[0], "input_schema": {"type": "object", "properties": {}}}]
    none = twice("no arguments", lambda: sdk.messages.create(**asking("Weather in Rome?", tools=empty)))
    expect("none", none["content"][0]["input"], {})
    expect(
        "streamed",
        hits("shape", lambda: streamed(sdk, **asking("Weather in Rome?", tools=empty)))[1]["content"][0]["input"],
        {},
    )
    result = [{"type": "tool_result", "tool_use_id": called[0]["id"], "content": "18 °C"}]
    back = [
        *asking("Weather in Paris?")["messages"],
        {"role": "assistant", "content": called},
        {"role": "user", "content": result},
    ]
    twice("result", lambda: ask("", messages=back))
    parse = lambda: sdk.messages.parse(**asking("Where is the Louvre?"), output_format=Place).parsed_output
    expect("parsed", twice("structured", parse), {"city": "Paris", "country": "France"})
    sdk = client(PLAIN_GATEWAY)
    never("a call, unless calls are stored", lambda: ask("Weather in Paris?"))


def errors():
    """What fails, fails as at the provider; what was cut is not kept."""
    for status, kind in [
        (401, anthropic.AuthenticationError),
        (404, anthropic.NotFoundError),
        (422, anthropic.UnprocessableEntityError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ]:
        sdk = client()
        error = raises(
            f"{status}", kind, "miss", lambda: sdk.messages.create(**asking("Who failed?", model=f"fail-{status}-1"))
        )
        expect("its request id", error.request_id, "req_1")
        expect("its message", error.body["error"]["message"], f"status {status} on demand")
    for status in (429, 500):
        sdk = client(max_retries=2)
        patient = lambda: sdk.messages.with_raw_response.create(**asking("Capital of Chile?", model=f"fail-{status}-2"))
        expect("retries", does(f"{status}, then success", "miss miss miss", patient).retries_taken, 2)
        expect("no retries on a hit", does("then", "hit-exact", patient).retries_taken, 0)
        sdk = client(max_retries=2)
        retries("retry counts", ["0", "1", "2"], patient)
    news()
    try:
        sdk.messages.create(
            **asking("Which planet has the most moons?"), extra_headers={"cache-control": "only-if-cached"}
        )
        raise AssertionError("only-if-cached: nothing was raised")
    except anthropic.APIStatusError as error:
        expect("only-if-cached", error.status_code, 504)
    seen = news()
    expect("in one call", ([exchange["status"] for exchange in seen["exchanges"]], seen["provider"]), ([504], 0))
    sdk = client()
    for time in ("first", "second"):
        for model in ("cut-5", "error-5"):
            cut = lambda: streamed(sdk, **asking("Which canal cut Panama in two?", model=model))
            raises(f"{model}, {time}", (httpx2.RemoteProtocolError, anthropic.APIError), "miss", cut)
    never(
        "an answer that ran out of tokens",
        lambda: sdk.messages.create(**asking("How long is the Danube?", model="length")),
    )


def scopes():
    """Credentials, protocol versions, and a refresh."""
    sdk = client()
    ask = (
        lambda by=sdk, **headers: by.messages.create(
            **asking("How many moons has Mars?", model="counting"), extra_headers=headers
        )
        .content[0]
        .text
    )
    first = does("first", "miss", ask)
    second = does("refreshed", "miss", lambda: ask(**{"cache-control": "no-cache"}))
    expect("refreshed", second == first, False)
    expect("kept instead", hits("again", ask), second)
    does("another credential", "miss", lambda: ask(by=client()))
    older = {"anthropic-version": "2023-06-01"}
    does("another version", "miss", lambda: ask(**older))
    for _ in range(2):
        news()
        expect(
            "tokens counted",
            sdk.messages.count_tokens(model="answers", messages=asking("How many?")["messages"]).input_tokens,
            9,
        )
        expect("by the provider", news()["provider"], 1)


run("anthropic (Python)", messages, turns, tools, errors, scopes)
