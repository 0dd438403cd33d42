"""LiteLLM's SDK, on its OpenAI route and on its Anthropic route."""

import litellm
from pydantic import BaseModel

from harness import GATEWAY, PLAIN_GATEWAY, PNG, does, expect, hits, key, never, raises, run, twice

litellm.suppress_debug_info = True
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class Place(BaseModel):
    """Where something is."""

    city: str
    country: str


def user(content):
    """One user message."""
    return [{"role": "user", "content": content}]


def added(stream):
    """What a stream's chunks add up to."""
    chunks = list(stream)
    whole = litellm.stream_chunk_builder(chunks)
    return whole.choices[0].message, whole.choices[0].finish_reason


def check(provider, base):
    """The same checks for both routes."""

    def complete(credential, content, model="answers", gateway=GATEWAY, **more):
        more = {"messages": user(content), "max_retries": 0, "num_retries": 0, **more}
        return litellm.completion(
            model=f"{provider}/{model}", api_base=base.format(gateway), api_key=credential, **more
        )

    mine = key()
    ask = lambda content, **more: complete(mine, content, **more)
    whole = twice("JSON", lambda: ask("Capital of France?"))
    streamed = twice("stream", lambda: added(ask("Capital of Spain?", stream=True)))
    expect(
        "a stream of what came as JSON",
        hits("shape", lambda: added(ask("Capital of France?", stream=True)))[0]["content"],
        whole["choices"][0]["message"]["content"],
    )
    expect(
        "JSON of what came as a stream",
        hits("shape", lambda: ask("Capital of Spain?"))["choices"][0]["message"]["content"],
        streamed[0]["content"],
    )
    usage = lambda: [
        chunk.usage.total_tokens
        for chunk in ask("Capital of Peru?", stream=True, stream_options={"include_usage": True})
        if getattr(chunk, "usage", None)
    ]
    expect("usage", twice("stream with usage", usage), [16])
    called = twice("tool call", lambda: ask("Weather in Paris?", tools=TOOLS))["choices"][0]["message"]["tool_calls"]
    expect("arguments", called[0]["function"]["arguments"].replace(" ", ""), '{"city":"Paris"}')
    again = hits("shape", lambda: added(ask("Weather in Paris?", tools=TOOLS, stream=True)))[0]["tool_calls"]
    expect("streamed", again[0]["function"]["arguments"].replace(" ", ""), '{"city":"Paris"}')
    turns = [
        *user("Weather in Paris?"),
        {"role": "assistant", "content": None, "tool_calls": called},
        {"role": "tool", "tool_call_id": called[0]["id"], "content": "18 °C"},
    ]
    twice("tool result", lambda: ask("", messages=turns, tools=TOOLS))
    other = key()
    never(
        "a call, unless calls are stored",
        lambda: complete(other, "Weather in Paris?", gateway=PLAIN_GATEWAY, tools=TOOLS),
    )
    after = lambda country: [
        *user(f"Capital of {country}?"),
        {"role": "assistant", "content": "Yes."},
        *user("And its river?"),
    ]
    twice("turns", lambda: ask("", messages=after("France")))
    does("the same turn after others", "miss", lambda: ask("", messages=after("Spain")))
    image = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    twice("image", lambda: ask(image))
    structured = twice("structured", lambda: ask("Where is the Louvre?", response_format=Place))["choices"][0][
        "message"
    ]["content"]
    expect("parsed", Place.model_validate_json(structured).city, "Paris")
    for status, kind in [
        (401, litellm.AuthenticationError),
        (404, litellm.NotFoundError),
        (429, litellm.RateLimitError),
        (500, litellm.InternalServerError),
    ]:
        error = raises(f"{status}", kind, "miss", lambda: complete(key(), "Who failed?", model=f"fail-{status}-9"))
        expect("its message", "on demand" in str(error), True)
    mine = key()
    for time in ("first", "second"):
        cut = lambda: list(complete(mine, "Which canal cut Panama in two?", model="cut-5", stream=True))
        raises(f"cut short, {time}", Exception, "miss", cut)


def openai_route():
    """Over the OpenAI client; a retry, and LiteLLM's own words about caching, which are LiteLLM's own affair."""
    check("openai", "http://{}/v1")
    mine = key()
    ask = lambda **more: litellm.completion(
        model="openai/answers", messages=user("Capital of Cuba?"), api_key=mine, api_base=f"http://{GATEWAY}/v1", **more
    )
    twice("plain", ask)
    hits("with controls for its own cache", lambda: ask(cache={"no-cache": True, "ttl": 60}))
    embed = lambda: [
        one["embedding"]
        for one in litellm.embedding(
            model="openai/embeds", input=["one", "two"], api_key=mine, api_base=f"http://{GATEWAY}/v1"
        ).data
    ]
    twice("embeddings", embed)


def anthropic_route():
    """Over HTTP of its own."""
    check("anthropic", "http://{}")


run("LiteLLM", openai_route, anthropic_route)
