"""LlamaIndex: its OpenAI model, and the one for anything like it."""

import httpx
import openai
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from harness import GATEWAY, PLAIN_GATEWAY, PNG, does, expect, hits, key, never, raises, run, twice


class Place(BaseModel):
    """Where something is."""

    city: str
    country: str


def weather(city: str) -> str:
    """Weather in a city."""
    return city


TOOL = FunctionTool.from_defaults(weather)


def like(**options):
    """A model of a provider that is like OpenAI."""
    more = {"model": "answers", "api_key": key(), "max_retries": 0, **options}
    return OpenAILike(
        api_base=f"http://{more.pop('gateway', GATEWAY)}/v1", is_chat_model=True, is_function_calling_model=True, **more
    )


def known(**options):
    """A model that LlamaIndex knows."""
    more = {"model": "gpt-4o-mini", "api_key": key(), "max_retries": 0, **options}
    return OpenAI(api_base=f"http://{more.pop('gateway', GATEWAY)}/v1", **more)


def ask(text):
    """One user message."""
    return [ChatMessage(role="user", content=text)]


def check(make):
    """The same checks for both."""
    model = make()
    said = lambda answer: (answer.message.content, answer.message.additional_kwargs, answer.raw.usage)
    streamed = lambda text: "".join(part.delta or "" for part in model.stream_chat(ask(text)))
    whole = twice("chat", lambda: said(model.chat(ask("Capital of France?"))))
    text = twice("stream", lambda: streamed("Capital of Spain?"))
    expect("a stream of what came as JSON", hits("shape", lambda: streamed("Capital of France?")), whole[0])
    expect("JSON of what came as a stream", hits("shape", lambda: said(model.chat(ask("Capital of Spain?"))))[0], text)
    twice("complete", lambda: model.complete("Capital of Peru?").text)
    turns = lambda country: [
        *ask(f"Capital of {country}?"),
        ChatMessage(role="assistant", content="Yes."),
        *ask("And its river?"),
    ]
    twice("turns", lambda: model.chat(turns("France")).message.content)
    does("the same turn after others", "miss", lambda: model.chat(turns("Spain")))

    def call(model):
        answer = model.chat_with_tools([TOOL], user_msg="Weather in Paris?")
        return [(one.tool_id, one.tool_name, one.tool_kwargs) for one in model.get_tool_calls_from_response(answer)]

    expect("tool call", twice("tool call", lambda: call(model))[0][1:], ["weather", {"city": "Paris"}])
    answer = model.chat_with_tools([TOOL], user_msg="Weather in Paris?")
    result = ChatMessage(role="tool", content="18 °C", additional_kwargs={"tool_call_id": call(model)[0][0]})
    twice("tool result", lambda: model.chat([*ask("Weather in Paris?"), answer.message, result]).message.content)
    without = make(gateway=PLAIN_GATEWAY)
    never("a call, unless calls are stored", lambda: call(without))
    place = lambda: model.structured_predict(Place, prompt("Where is the Louvre?"))
    expect("structured", twice("structured", place), {"city": "Paris", "country": "France"})


def prompt(text):
    """A prompt without variables."""
    from llama_index.core.prompts import PromptTemplate

    return PromptTemplate(text)


def openai_like():
    """OpenAILike, and what fails."""
    check(like)
    for status, kind in [
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ]:
        model = like(model=f"fail-{status}-1")
        raises(f"{status}", kind, "miss", lambda: model.chat(ask("Who failed?")))
    model = like(model="cut-3")
    for time in ("first", "second"):
        cut = lambda: list(model.stream_chat(ask("Which canal cut Panama in two?")))
        raises(f"cut short, {time}", (httpx.RemoteProtocolError, openai.APIConnectionError), "miss", cut)
    model = like(model="fail-429-1", max_retries=2)
    does("429, then success", "miss miss", lambda: model.chat(ask("Capital of Chile?")))


def openai_itself():
    """OpenAI with another base URL."""
    check(known)
    model = known()
    image = ChatMessage(
        role="user", blocks=[TextBlock(text="What is this?"), ImageBlock(url=f"data:image/png;base64,{PNG}")]
    )
    twice("image", lambda: model.chat([image]).message.content)


run("LlamaIndex", openai_like, openai_itself)
