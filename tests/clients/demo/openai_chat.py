"""The official OpenAI client against a running gateway: what it parses must not depend on where the answer came from.

    pip install openai==2.54.0
    semblance serve --upstream demo &
    python3 tests/clients/openai_chat.py http://127.0.0.1:8080/v1

Exits 0 and prints one line a check, or fails on the first difference.
"""

import sys
import uuid

import openai

QUESTION = "How do I enable two-factor authentication?"
REWORDED = "How can I enable two-factor authentication?"


class Client:
    """Asks in a scope of its own, so that every run starts cold."""

    def __init__(self, base_url):
        self.sdk = openai.OpenAI(base_url=base_url, api_key=f"sk-{uuid.uuid4()}", max_retries=0)

    def ask(self, question, stream=False, **options):
        """Outcome, text, finish reason and usage, as the SDK parsed them."""
        raw = self.sdk.chat.completions.with_raw_response.create(
            model="demo", messages=[{"role": "user", "content": question}], stream=stream, **options
        )
        outcome, parsed = raw.headers["x-semblance-cache"], raw.parse()
        if not stream:
            choice = parsed.choices[0]
            return outcome, choice.message.content, choice.finish_reason, parsed.usage
        text, finish, usage = "", None, None
        for chunk in parsed:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
        return outcome, text, finish, usage


def expect(what, got, wanted):
    """One check."""
    assert got == wanted, f"{what}: {got!r}, not {wanted!r}"
    print(f"ok  {what}")


def main(base_url):
    """All checks."""
    client = Client(base_url)
    miss = client.ask(QUESTION)
    expect("a new question is a miss", miss[0], "miss")
    for what, answer, outcome in [
        ("the same question", client.ask(QUESTION), "hit-exact"),
        ("re-worded", client.ask(REWORDED), "hit-semantic"),
        ("re-worded again", client.ask(REWORDED), "hit-exact"),
        ("replayed as a stream", client.ask(QUESTION, stream=True), "hit-exact"),
        ("re-worded, as a stream", client.ask(REWORDED, stream=True), "hit-exact"),
    ]:
        expect(f"{what}: outcome", answer[0], outcome)
        expect(f"{what}: message", answer[1:3], miss[1:3])

    client = Client(base_url)
    streamed = client.ask(QUESTION, stream=True)
    expect("a new question as a stream is a miss", streamed[0], "miss")
    expect("no usage where none was asked for", streamed[3], None)
    replayed = client.ask(QUESTION)
    expect("the stream replayed as JSON: outcome", replayed[0], "hit-exact")
    expect("the stream replayed as JSON: message", replayed[1:3], streamed[1:3])
    usage = client.ask(QUESTION, stream=True, stream_options={"include_usage": True})[3]
    expect("usage where it was asked for", usage.total_tokens, replayed[3].total_tokens)
    with client.sdk.chat.completions.stream(model="demo", messages=[{"role": "user", "content": QUESTION}]) as events:
        final = events.get_final_completion()
    expect("the streaming helper's final message", final.choices[0].message.content, streamed[1])

    try:
        client.sdk.with_options(max_retries=2).chat.completions.create(
            model="demo",
            messages=[{"role": "user", "content": f"Something new: {uuid.uuid4()}"}],
            extra_headers={"cache-control": "only-if-cached"},
        )
        raise AssertionError("only-if-cached on a cold cache must be an error")
    except openai.APIStatusError as error:
        expect("only-if-cached on a cold cache", (error.status_code, error.code), (504, "only_if_cached_miss"))
    expect("models pass through", len(client.sdk.models.list().data) > 0, True)


main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1")
