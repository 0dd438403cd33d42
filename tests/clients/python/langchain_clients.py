"""LangChain over both providers' packages."""

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from harness import GATEWAY, calls, done, expect, key, twice


class Place(BaseModel):
    """What structured output is asked for."""

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
    return whole.text, whole.tool_calls and whole.tool_calls[0]["args"], whole.usage_metadata


def check(name, model):
    """The same checks for every chat model."""
    whole = twice(f"{name}: invoke", lambda: model.invoke("Capital of France?").text)
    twice(f"{name}: stream", lambda: added(model.stream("Capital of Spain?")))
    expect("a stream of what came as JSON", calls("shape", 0, lambda: added(model.stream("Capital of France?")))[0], whole)
    twice(f"{name}: usage", lambda: model.invoke("Capital of Peru?").usage_metadata)
    bound = model.bind_tools([weather])
    called = lambda: [{"name": call["name"], "args": call["args"]} for call in bound.invoke("Weather in Paris?").tool_calls]
    expect("tool call", twice(f"{name}: tool call", called), [{"name": "weather", "args": {"city": "Paris"}}])
    turns = [HumanMessage("Weather in Paris?"),
             AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Paris"}, "id": "call_1"}]), ToolMessage("18", tool_call_id="call_1")]
    twice(f"{name}: tool result", lambda: bound.invoke(turns).text)
    turns = lambda country: [HumanMessage(f"Capital of {country}?"), AIMessage("Yes."), HumanMessage("And its river?")]
    twice(f"{name}: turns", lambda: model.invoke(turns("France")).text)
    calls(f"{name}: the same turn after others", 1, lambda: model.invoke(turns("Spain")))


base = f"http://{GATEWAY}/v1"
for name, options in [("chat", {"use_responses_api": False}), ("responses", {"use_responses_api": True})]:
    model = ChatOpenAI(model="answers", base_url=base, api_key=key(), max_retries=0, **options)
    check(f"langchain-openai, {name}", model)
    structured = model.with_structured_output(Place)
    expect("structured output", twice("structured output", lambda: structured.invoke("Where is the Louvre?")), {"city": "Paris", "country": "France"})
embeddings = OpenAIEmbeddings(model="embeds", base_url=base, api_key=key(), check_embedding_ctx_length=False)
twice("langchain-openai, embeddings", lambda: embeddings.embed_documents(["one", "two"]))
calls("one of them", 0, lambda: embeddings.embed_query("two"))
done("langchain-openai")

check("langchain-anthropic", ChatAnthropic(model="answers", base_url=f"http://{GATEWAY}", api_key=key(), max_retries=0))
done("langchain-anthropic (checks so far)")
