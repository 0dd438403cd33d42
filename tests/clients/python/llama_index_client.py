"""LlamaIndex over an OpenAI-like endpoint."""

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from harness import GATEWAY, calls, done, expect, key, twice

model = OpenAILike(model="answers", api_base=f"http://{GATEWAY}/v1", api_key=key(), is_chat_model=True, max_retries=0)
ask = lambda text: [ChatMessage(role="user", content=text)]
whole = twice("chat", lambda: model.chat(ask("Capital of France?")).message.content)
streamed = twice("stream", lambda: [part.delta for part in model.stream_chat(ask("Capital of Spain?"))][-1:] and
                 "".join(part.delta or "" for part in model.stream_chat(ask("Capital of Spain?"))), requests=1)
expect("a stream of what came as JSON", calls("shape", 0, lambda: "".join(part.delta or "" for part in model.stream_chat(ask("Capital of France?")))), whole)
expect("JSON of what came as a stream", calls("shape", 0, lambda: model.chat(ask("Capital of Spain?")).message.content), streamed)
twice("complete", lambda: model.complete("Capital of Peru?").text)
history = lambda country: [*ask(f"Capital of {country}?"), ChatMessage(role="assistant", content="Yes."), *ask("And its river?")]
twice("turns", lambda: model.chat(history("France")).message.content)
calls("the same turn after others", 1, lambda: model.chat(history("Spain")))
done("llama-index")
