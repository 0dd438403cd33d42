"""Ollama's client against a running gateway: what it parses must not depend on where the answer came from.

    pip install ollama==0.6.3
    semblance serve --upstream demo &
    python3 tests/clients/demo/ollama_chat.py http://127.0.0.1:8080

Exits 0 and prints one line a check, or fails on the first difference.
"""

import sys
import uuid

import ollama

QUESTION = "How do I enable two-factor authentication?"
REWORDED = "How can I enable two-factor authentication?"


class Client:
    """Asks in a scope of its own, so that every run starts cold."""

    def __init__(self, base_url):
        self.outcomes = []
        hooks = {"response": [lambda response: self.outcomes.append(response.headers.get("x-semblance-cache"))]}
        headers = {"authorization": f"Bearer {uuid.uuid4()}"}
        self.sdk = ollama.Client(host=base_url, headers=headers, event_hooks=hooks)

    def did(self, result):
        """What the last request came to, and its result."""
        return self.outcomes[-1], result

    def ask(self, question, **options):
        """Outcome and answer, as the client parsed it."""
        messages = [{"role": "user", "content": question}]
        return self.did(self.sdk.chat("demo", messages, **options).model_dump())

    def stream(self, question):
        """Outcome, the last part, and the texts of all of them."""
        parts = list(self.sdk.chat("demo", [{"role": "user", "content": question}], stream=True))
        return self.did((parts[-1].model_dump(), "".join(part.message.content for part in parts), len(parts)))


def expect(what, got, wanted):
    """One check."""
    assert got == wanted, f"{what}: {got!r}, not {wanted!r}"
    print(f"ok  {what}")


def main(base_url):
    """All checks."""
    client = Client(base_url)
    outcome, miss = client.ask(QUESTION)
    expect("a new question is a miss", outcome, "miss")
    expect("the same question", client.ask(QUESTION), ("hit-exact", miss))
    expect("re-worded", client.ask(REWORDED), ("hit-semantic", miss))
    outcome, (last, text, parts) = client.stream(QUESTION)
    expect("as a stream", (outcome, text), ("hit-exact", miss["message"]["content"]))
    expect("in parts", parts > 2, True)
    counted = ["done", "done_reason", "eval_count", "prompt_eval_count", "total_duration", "created_at", "model"]
    expect("whose last tells the same", [last[key] for key in counted], [miss[key] for key in counted])

    outcome, streamed = client.stream("How tall is Mount Kenya?")
    expect("a new stream is a miss", outcome, "miss")
    outcome, again = client.stream("How tall is Mount Kenya?")
    expect("the same stream", (outcome, again[:2]), ("hit-exact", streamed[:2]))
    outcome, whole = client.ask("How tall is Mount Kenya?")
    expect("as one answer", (outcome, whole["message"]["content"]), ("hit-exact", streamed[1]))
    expect("a near miss", client.ask("How do I disable two-factor authentication?")[0], "miss")
    expect("structured", client.ask(QUESTION, format="json")[0], "miss")

    generate = lambda: client.did(client.sdk.generate("demo", QUESTION).model_dump())
    outcome, first = generate()
    expect("a generation is kept apart", outcome, "miss")
    expect("and again", generate(), ("hit-exact", first))
    expect("models pass", [model.model for model in client.sdk.list().models], ["semblance-demo"])
    try:
        client.sdk.show("demo")
        raise AssertionError("nothing was raised")
    except ollama.ResponseError as error:
        expect("the provider's errors are raised", error.status_code, 404)


main(sys.argv[1])
