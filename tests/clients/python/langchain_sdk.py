"""LangChain over both providers' packages: chat completions, responses, messages, embeddings."""

import httpx
import httpx2
import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from harness import GATEWAY, PLAIN_GATEWAY, PNG, does, expect, hits, key, never, raises, retries, run, twice


class Place(BaseModel):
    """Where something is."""

    city: str
    country: str


def weather(city: str) -> str:
    """Weather in a city."""
    return city


def added(chunks):
    """What a stream's chunks add up to."""
    whole = None
    for chunk in chunks:
        whole = chunk if whole is None else whole + chunk
    return whole


def chat(**options):
    """OpenAI's chat completions."""
    more = {"model": "answers", "max_retries": 0, "api_key": key(), **options}
    return ChatOpenAI(base_url=f"http://{more.pop('gateway', GATEWAY)}/v1", use_responses_api=False, **more)


def responses(**options):
    """OpenAI's responses."""
    more = {"model": "answers", "max_retries": 0, "api_key": key(), **options}
    return ChatOpenAI(base_url=f"http://{more.pop('gateway', GATEWAY)}/v1", use_responses_api=True, **more)


def messages(**options):
    """Anthropic's messages."""
    more = {"model": "answers", "max_retries": 0, "api_key": key(), **options}
    return ChatAnthropic(base_url=f"http://{more.pop('gateway', GATEWAY)}", **more)


def check(make):
    """The same checks for every chat model."""
    model = make()
    whole = twice("invoke", lambda: model.invoke("Capital of France?"))
    streamed = twice("stream", lambda: added(model.stream("Capital of Spain?")))
    text = lambda message: message.text
    expect(
        "a stream of what came as JSON",
        hits("shape", lambda: text(added(model.stream("Capital of France?")))),
        text(model.invoke("Capital of France?")),
    )
    usage = hits("shape", lambda: added(model.stream("Capital of France?")).usage_metadata)
    expect(
        "its usage",
        usage and usage["total_tokens"],
        streamed["usage_metadata"] and whole["usage_metadata"]["total_tokens"],
    )
    expect(
        "JSON of what came as a stream",
        hits("shape", lambda: text(model.invoke("Capital of Spain?"))),
        text(added(model.stream("Capital of Spain?"))),
    )
    bound = model.bind_tools([weather])
    called = twice("tool call", lambda: bound.invoke("Weather in Paris?"))["tool_calls"]
    expect("arguments", (called[0]["name"], called[0]["args"]), ("weather", {"city": "Paris"}))
    expect(
        "streamed",
        hits("shape", lambda: added(bound.stream("Weather in Paris?")).tool_calls[0]["args"]),
        {"city": "Paris"},
    )
    request = HumanMessage("Weather in Paris?")
    back = lambda: bound.invoke([request, bound.invoke([request]), ToolMessage("18 °C", tool_call_id=called[0]["id"])])
    does("tool result, new", "hit-exact miss", back)
    hits("tool result, again", back, 2)
    structured = model.with_structured_output(Place)
    expect(
        "structured output",
        twice("structured output", lambda: structured.invoke("Where is the Louvre?")),
        {"city": "Paris", "country": "France"},
    )
    turns = lambda country: [HumanMessage(f"Capital of {country}?"), AIMessage("Yes."), HumanMessage("And its river?")]
    twice("turns", lambda: model.invoke(turns("France")))
    does("the same turn after others", "miss", lambda: model.invoke(turns("Spain")))
    image = [
        HumanMessage(
            [{"type": "text", "text": "What is this?"}, {"type": "image", "base64": PNG, "mime_type": "image/png"}]
        )
    ]
    twice("image", lambda: model.invoke(image))
    does("another credential", "miss", lambda: make().invoke("Capital of France?"))
    without = make(gateway=PLAIN_GATEWAY).bind_tools([weather])
    never("a call, unless calls are stored", lambda: without.invoke("Weather in Paris?"))


def fails(make, sdk):
    """Errors are the official SDK's, and so are retries."""
    for status, kind in [
        (401, sdk.AuthenticationError),
        (404, sdk.NotFoundError),
        (422, sdk.UnprocessableEntityError),
        (429, sdk.RateLimitError),
        (500, sdk.InternalServerError),
    ]:
        model = make(model=f"fail-{status}-1")
        error = raises(f"{status}", kind, "miss", lambda: model.invoke("Who failed?"))
        expect("its message", "on demand" in str(error), True)
    model = make(model="fail-429-1", max_retries=2)
    retries("429, then success", ["0", "1"], lambda: model.invoke("Capital of Chile?"))
    hits("then", lambda: model.invoke("Capital of Chile?"))
    model = make(model="cut-5")
    broken = (httpx.RemoteProtocolError, httpx2.RemoteProtocolError, sdk.APIError)
    for time in ("first", "second"):
        raises(f"cut short, {time}", broken, "miss", lambda: added(model.stream("Which canal cut Panama in two?")))


def openai_chat():
    """Chat completions."""
    check(chat)
    model = chat(stream_usage=True)
    used = twice("stream with usage", lambda: added(model.stream("Capital of Peru?")).usage_metadata)
    expect("usage", used["total_tokens"], 16)
    fails(chat, openai)


def openai_responses():
    """Responses."""
    check(responses)
    fails(responses, openai)
    model = responses(use_previous_response_id=True)
    first = [HumanMessage("Capital of Peru?")]
    answer = model.invoke(first)
    never("previous_response_id", lambda: model.invoke([*first, answer, HumanMessage("And its river?")]), "bypass")


def openai_embeddings():
    """Embeddings."""
    model = OpenAIEmbeddings(
        model="embeds", base_url=f"http://{GATEWAY}/v1", api_key=key(), check_embedding_ctx_length=False
    )
    pair = twice("documents", lambda: model.embed_documents(["one", "two"]))
    expect("one of them", hits("query", lambda: model.embed_query("two")), pair[1])


def anthropic_messages():
    """Messages."""
    check(messages)
    fails(messages, anthropic)


run("LangChain", openai_chat, openai_responses, openai_embeddings, anthropic_messages)
