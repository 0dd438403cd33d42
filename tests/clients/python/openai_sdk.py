"""The official OpenAI client: chat completions, responses, legacy completions, embeddings, models."""

import asyncio
import json

import httpx
import openai
from pydantic import BaseModel

from harness import GATEWAY, PLAIN_GATEWAY, PNG, does, expect, hits, key, never, news, raises, retries, run, twice

WEATHER = {
    "name": "weather",
    "description": "Weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOLS = [{"type": "function", "function": WEATHER}]
FLAT_TOOLS = [{"type": "function", "strict": False, **WEATHER}]


class Place(BaseModel):
    """What structured output is asked for."""

    city: str
    country: str


PARIS = {"city": "Paris", "country": "France"}


def client(gateway=GATEWAY, kind=openai.OpenAI, **options):
    """A client with a credential of its own."""
    return kind(base_url=f"http://{gateway}/v1", api_key=key(), **{"max_retries": 0, **options})


def user(text):
    """One user message."""
    return [{"role": "user", "content": text}]


def after(country):
    """A second question, which means something else after another first one."""
    return [*user(f"Capital of {country}?"), {"role": "assistant", "content": "Yes."}, *user("And its river?")]


def added(stream):
    """What the chunks of a chat stream add up to."""
    text, thought, finish, usage, calls, ids = "", "", None, None, {}, set()
    for chunk in stream:
        usage, ids = chunk.usage or usage, ids | {chunk.id}
        for choice in chunk.choices:
            text += choice.delta.content or ""
            thought += getattr(choice.delta, "reasoning_content", None) or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                calls[call.index] = calls.get(call.index, "") + (call.function.arguments or "")
    expect("one id in all chunks", len(ids), 1)
    return text, finish, usage, [calls[at] for at in sorted(calls)], thought


def said(completion):
    """The text of a completion."""
    return completion["choices"][0]["message"]["content"]


def chat():
    """Both shapes, and each from the other."""
    sdk = client()
    ask = lambda text, **more: sdk.chat.completions.create(model="answers", messages=user(text), **more)
    stream = lambda text, **more: added(ask(text, stream=True, **more))
    whole = twice("JSON", lambda: ask("Capital of France?"))
    streamed = twice("stream", lambda: stream("Capital of Spain?"))
    expect("no usage unasked for", streamed[2], None)
    used = twice("stream with usage", lambda: stream("Capital of Peru?", stream_options={"include_usage": True}))
    expect("usage asked for", used[2], whole["usage"])
    expect("a stream of what came as JSON", hits("shape", lambda: stream("Capital of France?"))[0], said(whole))
    later = hits("shape", lambda: stream("Capital of France?", stream_options={"include_usage": True}))
    expect("usage of what came as JSON", later[2], whole["usage"])
    expect("JSON of what came as a stream", said(hits("shape", lambda: ask("Capital of Spain?"))), streamed[0])
    expect("its usage", hits("shape", lambda: ask("Capital of Spain?"))["usage"], whole["usage"])
    expect("an id of its own", ask("Capital of France?").id == ask("Capital of France?").id, False)
    thinking = lambda **more: sdk.chat.completions.create(model="thinks", messages=user("Why is the sky blue?"), **more)
    thought = twice("reasoning", thinking)["choices"][0]["message"]["reasoning_content"]
    expect("streamed", hits("shape", lambda: added(thinking(stream=True)))[4], thought)


def chat_turns():
    """Many turns, images, the fields that may differ and those that may not."""
    sdk = client()
    ask = lambda messages, **more: sdk.chat.completions.create(model="answers", messages=messages, **more)
    twice("turns", lambda: ask(after("France")))
    does("the same turn after others", "miss", lambda: ask(after("Spain")))
    image = lambda data: ask(
        user(
            [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
            ]
        )
    )
    twice("image", lambda: image(PNG))
    does("another image", "miss", lambda: image(PNG.replace("iVBOR", "iVBOS")))
    hits("another end user", lambda: ask(after("France"), user="someone", metadata={"run": "1"}))
    does("a field that the gateway does not know", "miss", lambda: ask(after("France"), extra_body={"top_k": 5}))
    does("another temperature", "miss", lambda: ask(after("France"), temperature=0.1))
    never("several answers", lambda: ask(after("France"), n=2), "bypass")


def chat_tools():
    """Calls in both shapes, the helper, and the way back."""
    sdk = client()
    ask = lambda text, **more: sdk.chat.completions.create(model="answers", messages=user(text), tools=TOOLS, **more)
    called = twice("call", lambda: ask("Weather in Paris?"))["choices"][0]["message"]
    expect("arguments", called["tool_calls"][0]["function"], {"name": "weather", "arguments": '{"city": "Paris"}'})
    expect("streamed", hits("shape", lambda: added(ask("Weather in Paris?", stream=True)))[3], ['{"city": "Paris"}'])
    two = twice("two calls in turns", lambda: added(ask("Weather in both?", stream=True)))
    expect("their arguments", two[3], ['{"city": "Paris"}', '{"city": "Rome"}'])
    again = hits("shape", lambda: ask("Weather in both?"))["choices"][0]["message"]["tool_calls"]
    expect("as JSON", [call["function"]["arguments"] for call in again], two[3])

    def helper():
        with sdk.chat.completions.stream(model="answers", messages=user("Weather in Paris?"), tools=TOOLS) as events:
            return events.get_final_completion().choices[0].message.tool_calls[0].function.name

    expect("helper", hits("helper", helper), "weather")
    turns = [
        *user("Weather in Paris?"),
        {"role": "assistant", "tool_calls": called["tool_calls"]},
        {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "18 °C"},
    ]
    twice("result", lambda: sdk.chat.completions.create(model="answers", messages=turns, tools=TOOLS))
    sdk = client(PLAIN_GATEWAY)
    never("a call, unless calls are stored", lambda: ask("Weather in Paris?"))
    never("the same streamed", lambda: added(ask("Weather in Paris?", stream=True)))


def chat_structured():
    """Structured output through the helpers."""
    sdk = client()
    request = dict(model="answers", messages=user("Where is the Louvre?"), response_format=Place)
    parsed = lambda: sdk.chat.completions.parse(**request).choices[0].message.parsed
    expect("parsed", twice("parse", parsed), PARIS)

    def streamed():
        with sdk.chat.completions.stream(**request) as events:
            return events.get_final_completion().choices[0].message.parsed

    expect("streamed", hits("shape", streamed), PARIS)
    free = sdk.chat.completions.create
    does("the same without a schema", "miss", lambda: free(model="answers", messages=request["messages"]))


def errors():
    """What fails, fails as at the provider; what was cut is not kept."""
    for status, kind in [
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ]:
        sdk = client()
        for stream in (False, True):
            fail = lambda: sdk.chat.completions.create(
                model=f"fail-{status}-2", messages=user("Who failed?"), stream=stream
            )
            error = raises(f"{status}", kind, "miss", fail)
            expect("its request id", error.request_id, "req_1")
            expect("its message", error.body["message"], f"status {status} on demand")
    for status in (429, 500):
        sdk = client(max_retries=2)
        patient = lambda: sdk.chat.completions.with_raw_response.create(
            model=f"fail-{status}-2", messages=user("Capital of Chile?")
        )
        expect("retries", does(f"{status}, then success", "miss miss miss", patient).retries_taken, 2)
        expect("no retries on a hit", does("then", "hit-exact", patient).retries_taken, 0)
        sdk = client(max_retries=2)
        retries("retry counts", ["0", "1", "2"], patient)
    sdk = client()
    cut = lambda: added(
        sdk.chat.completions.create(model="cut-3", messages=user("Which canal cut Panama in two?"), stream=True)
    )
    broken = lambda: added(
        sdk.chat.completions.create(model="error-3", messages=user("Which river broke its banks in 1910?"), stream=True)
    )
    for time in ("first", "second"):
        raises(f"a stream cut short, {time}", (httpx.RemoteProtocolError, openai.APIConnectionError), "miss", cut)
        raises(f"a stream with an error, {time}", openai.APIError, "miss", broken)
    never(
        "an answer that ran out of tokens",
        lambda: sdk.chat.completions.create(model="length", messages=user("How long is the Danube?")),
    )
    long = lambda: added(
        sdk.chat.completions.create(model="length", messages=user("How long is the Danube?"), stream=True)
    )
    expect("its finish", never("the same streamed", long)[1], "length")


def directives():
    """What a request may ask of the cache, and what it may not see."""
    sdk = client(max_retries=2)
    ask = (
        lambda by=sdk, text="How many moons has Mars?", **headers: by.chat.completions.create(
            model="counting", messages=user(text), extra_headers=headers
        )
        .choices[0]
        .message.content
    )
    only = {"cache-control": "only-if-cached"}
    news()
    try:
        ask(text="Which planet has the most moons?", **only)
        raise AssertionError("only-if-cached: nothing was raised")
    except openai.APIStatusError as error:
        expect("only-if-cached", (error.status_code, error.code), (504, "only_if_cached_miss"))
    seen = news()
    expect("in one call", [exchange["status"] for exchange in seen["exchanges"]], [504])
    expect("which says so", seen["exchanges"][0]["headers"]["x-should-retry"], "false")
    expect("without the provider", seen["provider"], 0)
    first = does("first", "miss", ask)
    expect("kept", hits("only-if-cached", lambda: ask(**only)), first)
    news()
    second = ask(**{"cache-control": "no-cache"})
    expect("refreshed", (second == first, news()["provider"]), (False, 1))
    expect("kept instead", hits("again", ask), second)
    news()
    third = ask(**{"cache-control": "no-store"})
    expect("passed by", (third == second, news()["provider"]), (False, 1))
    expect("and not kept", hits("again", ask), second)
    does("another credential", "miss", lambda: ask(by=client()))
    seen = (ask(), news())[1]["exchanges"][0]["headers"]
    expect("a hit has an age", seen["age"].isdigit(), True)
    expect("and a status", seen["cache-status"].startswith("semblance; hit"), True)


def together():
    """The same question at the same time, in both shapes, is one question."""

    async def ask():
        sdk = client(kind=openai.AsyncOpenAI)
        whole = lambda: sdk.chat.completions.create(model="slow-1500", messages=user("All at once?"))

        async def stream():
            chunks = await sdk.chat.completions.create(model="slow-1500", messages=user("All at once?"), stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

        answers = await asyncio.gather(*[whole() if at % 2 else stream() for at in range(10)])
        return {answer if isinstance(answer, str) else answer.choices[0].message.content for answer in answers}

    news()
    expect("one answer", len(asyncio.run(ask())), 1)
    seen = news()
    expect("one request of the provider", seen["provider"], 1)
    expect("outcomes", sorted(exchange["outcome"] for exchange in seen["exchanges"]), ["collapsed"] * 9 + ["miss"])


def responses():
    """Both shapes, each from the other, and the ids, which are handles."""
    sdk = client()
    ask = lambda text, **more: sdk.responses.create(model="answers", input=text, **more)

    def stream(text, **more):
        with sdk.responses.stream(model="answers", input=text, **more) as events:
            kinds = [event.type for event in events]
            return kinds[0], kinds[-1], events.get_final_response()

    whole = twice("JSON", lambda: ask("Capital of France?", instructions="Be brief."))
    text = whole["output"][0]["content"][0]["text"]
    streamed = twice("stream", lambda: stream("Capital of Spain?"))
    expect(
        "a stream of what came as JSON",
        hits("shape", lambda: stream("Capital of France?", instructions="Be brief."))[2]["output"][0]["content"][0][
            "text"
        ],
        text,
    )
    expect(
        "JSON of what came as a stream",
        hits("shape", lambda: ask("Capital of Spain?"))["output"][0]["content"][0]["text"],
        streamed[2]["output"][0]["content"][0]["text"],
    )
    listed = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Capital of France?"}]},
    ]
    expect("the same in items", hits("items", lambda: ask(listed))["output"][0]["content"][0]["text"], text)
    first = ask("Capital of France?", instructions="Be brief.")
    expect("the id is a handle", first.id, whole["id"])
    expect(
        "raw events",
        hits("raw", lambda: [event.sequence_number for event in ask("Capital of Spain?", stream=True)])[:3],
        [0, 1, 2],
    )
    never("previous_response_id", lambda: ask("And its river?", previous_response_id=first.id), "bypass")
    never("a conversation", lambda: ask("And its river?", conversation="conv_1"), "bypass")
    never("a hosted tool", lambda: ask("News?", tools=[{"type": "web_search"}]), "bypass")
    never("an answer cut short", lambda: sdk.responses.create(model="length", input="How long is the Danube?"))
    thinking = lambda: sdk.responses.create(model="thinks", input="Why is the sky blue?")
    expect("reasoning", twice("reasoning", thinking)["output"][0]["type"], "reasoning")
    image = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG}"},
            ],
        }
    ]
    twice("image", lambda: ask(image))


def responses_tools():
    """Function calls, their way back, structured output, and errors."""
    sdk = client()
    ask = lambda text, **more: sdk.responses.create(model="answers", input=text, tools=FLAT_TOOLS, **more)
    called = twice("call", lambda: ask("Weather in Paris?"))["output"][0]
    expect("arguments", json.loads(called["arguments"]), {"city": "Paris"})

    def streamed():
        with sdk.responses.stream(model="answers", input="Weather in Paris?", tools=FLAT_TOOLS) as events:
            return events.get_final_response().output[0].arguments

    expect("streamed", hits("shape", streamed), called["arguments"])
    turns = [
        *user("Weather in Paris?"),
        {name: called[name] for name in ("type", "call_id", "name", "arguments")},
        {"type": "function_call_output", "call_id": called["call_id"], "output": "18 °C"},
    ]
    twice("result", lambda: ask(turns))
    parse = lambda: sdk.responses.parse(model="answers", input="Where is the Louvre?", text_format=Place).output_parsed
    expect("parsed", twice("structured", parse), PARIS)
    for status, kind in [
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ]:
        raises(f"{status}", kind, "miss", lambda: sdk.responses.create(model=f"fail-{status}-1", input="?"))
    for time in ("first", "second"):
        events = lambda model: list(
            sdk.responses.create(model=model, input="Which canal cut Panama in two?", stream=True)
        )
        raises(f"cut short, {time}", (httpx.RemoteProtocolError, openai.APIError), "miss", lambda: events("cut-4"))
        expect("an error event", does(f"an error, {time}", "miss", lambda: events("error-4"))[-1].type, "error")
    sdk = client(PLAIN_GATEWAY)
    never("a call, unless calls are stored", lambda: ask("Weather in Paris?"))


def embeddings():
    """Each input on its own, in both encodings."""
    sdk = client()
    embed = lambda texts, **more: sdk.embeddings.create(model="embeds", input=texts, **more)
    pair = twice("a pair", lambda: embed(["one", "two"]))
    floats = hits("one of them", lambda: embed(["two"], encoding_format="float"))
    expect("as floats", floats["data"][0]["embedding"], pair["data"][1]["embedding"])
    news()
    mixed = embed(["three", "one"])
    expect("one known, one new", news()["provider"], 1)
    expect("in order", mixed.data[1].embedding, pair["data"][0]["embedding"])
    twice("token ids", lambda: embed([[1, 2, 3]]))


def completions_and_models():
    """The old protocol, and what passes through."""
    sdk = client()
    ask = lambda prompt, **more: sdk.completions.create(model="answers", prompt=prompt, **more)
    stream = lambda prompt: "".join(chunk.choices[0].text for chunk in ask(prompt, stream=True))
    whole = twice("JSON", lambda: ask("Once upon"))
    streamed = twice("stream", lambda: stream("Once there was"))
    expect("a stream of what came as JSON", hits("shape", lambda: stream("Once upon")), whole["choices"][0]["text"])
    expect(
        "JSON of what came as a stream", hits("shape", lambda: ask("Once there was"))["choices"][0]["text"], streamed
    )
    expect("models", [model.id for model in sdk.models.list()], ["answers"])


run(
    "openai (Python)",
    chat,
    chat_turns,
    chat_tools,
    chat_structured,
    errors,
    directives,
    together,
    responses,
    responses_tools,
    embeddings,
    completions_and_models,
)
