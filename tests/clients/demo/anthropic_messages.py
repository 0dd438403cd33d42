"""The official Anthropic client against a running gateway: what it parses must not depend on where the answer came from.

    pip install anthropic==2.14.0
    semblance serve --upstream demo &
    python3 tests/clients/anthropic_messages.py http://127.0.0.1:8080

Exits 0 and prints one line a check, or fails on the first difference.
"""

import sys
import uuid

import anthropic

QUESTION = "How do I enable two-factor authentication?"
REWORDED = "How can I enable two-factor authentication?"


class Client:
    """Asks in a scope of its own, so that every run starts cold."""

    def __init__(self, base_url):
        self.sdk = anthropic.Anthropic(base_url=base_url, api_key=f"sk-ant-{uuid.uuid4()}", max_retries=0)

    def ask(self, question, **options):
        """Outcome and message, as the SDK parsed it."""
        raw = self.sdk.messages.with_raw_response.create(**self.request(question, **options))
        return raw.headers["x-semblance-cache"], plain(raw.parse())

    def stream(self, question, **options):
        """Outcome, the message that the SDK adds up from the events, and the text of its deltas."""
        with self.sdk.messages.stream(**self.request(question, **options)) as events:
            text = "".join(events.text_stream)
            return events.response.headers["x-semblance-cache"], plain(events.get_final_message()), text

    @staticmethod
    def request(question, **options):
        """One user message; `options` win."""
        return {"model": "demo", "max_tokens": 1000, "messages": [{"role": "user", "content": question}], **options}


def plain(message):
    """The parsed message without its id, which is new in every answer, and without the nulls that the SDK adds itself."""
    return {key: value for key, value in message.to_dict(exclude_none=True).items() if key != "id"}


def expect(what, got, wanted):
    """One check."""
    assert got == wanted, f"{what}: {got!r}, not {wanted!r}"
    print(f"ok  {what}")


def main(base_url):
    """All checks."""
    client = Client(base_url)
    outcome, miss = client.ask(QUESTION)
    expect("a new question is a miss", outcome, "miss")
    said = "".join(block["text"] for block in miss["content"])
    for what, answer, outcome in [
        ("the same question", client.ask(QUESTION), "hit-exact"),
        ("re-worded", client.ask(REWORDED), "hit-semantic"),
        ("re-worded again", client.ask(REWORDED), "hit-exact"),
        ("replayed as a stream", client.stream(QUESTION), "hit-exact"),
        ("re-worded, as a stream", client.stream(REWORDED), "hit-exact"),
    ]:
        expect(f"{what}: outcome", answer[0], outcome)
        expect(f"{what}: message", answer[1], miss)
        expect(f"{what}: deltas", answer[2:], (said,)[: len(answer) - 2])

    client = Client(base_url)
    streamed = client.stream(QUESTION)
    expect("a new question as a stream is a miss", streamed[0], "miss")
    expect("the stream replayed", client.stream(QUESTION), ("hit-exact", *streamed[1:]))
    expect("the stream replayed as JSON", client.ask(QUESTION), ("hit-exact", streamed[1]))
    blocks = [{"type": "text", "text": QUESTION, "cache_control": {"type": "ephemeral"}}]
    marked = client.ask(QUESTION, messages=[{"role": "user", "content": blocks}])
    expect("the same in blocks with a cache mark", marked, ("hit-exact", streamed[1]))

    try:
        client.sdk.with_options(max_retries=2).messages.create(
            **client.request(f"Something new: {uuid.uuid4()}"), extra_headers={"cache-control": "only-if-cached"}
        )
        raise AssertionError("only-if-cached on a cold cache must be an error")
    except anthropic.APIStatusError as error:
        told = (error.status_code, error.body["error"]["code"])
        expect("only-if-cached on a cold cache", told, (504, "only_if_cached_miss"))
    try:
        client.sdk.messages.create(**client.request(QUESTION, messages=[]))
        raise AssertionError("a request without messages must be an error")
    except anthropic.BadRequestError as error:
        expect("the provider's own error", error.body["error"]["type"], "invalid_request_error")
    counted = client.sdk.messages.count_tokens(model="demo", messages=[{"role": "user", "content": QUESTION}])
    expect("token counts pass through", counted.input_tokens > 0, True)
    for when in ("asked for", "kept"):
        expect(f"models {when} come page by page to the end", len(list(client.sdk.models.list(limit=1))), 1)


main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
