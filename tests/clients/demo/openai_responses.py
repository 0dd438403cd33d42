"""The official OpenAI client's responses against a running gateway, as `openai_chat.py` does for chat.

    pip install openai==2.54.0
    semblance serve --upstream demo &
    python3 tests/clients/openai_responses.py http://127.0.0.1:8080/v1

Exits 0 and prints one line a check, or fails on the first difference.
"""

import sys
import uuid

import openai
import pydantic

QUESTION = "How do I enable two-factor authentication?"
REWORDED = "How can I enable two-factor authentication?"
FURTHER = "Does it work on a tablet?"


class Said(pydantic.BaseModel):
    """What the built-in model answers where a schema is given."""

    answer: str


class Client:
    """Asks in a scope of its own, so that every run starts cold."""

    def __init__(self, base_url):
        self.sdk = openai.OpenAI(base_url=base_url, api_key=f"sk-{uuid.uuid4()}", max_retries=0)

    def ask(self, question=QUESTION, **options):
        """Outcome and response, as the SDK parsed it."""
        raw = self.sdk.responses.with_raw_response.create(model="demo", input=question, **options)
        return raw.headers["x-semblance-cache"], raw.parse().model_dump()

    def stream(self, question=QUESTION, **options):
        """Outcome, the text added up from deltas, the last event's response, and the types of all events."""
        raw = self.sdk.responses.with_raw_response.create(model="demo", input=question, stream=True, **options)
        text, kinds, numbers, response = "", [], [], None
        for event in raw.parse():
            kinds.append(event.type)
            numbers.append(event.sequence_number)
            text += event.delta if event.type == "response.output_text.delta" else ""
            response = getattr(event, "response", None) or response
        expect("sequence numbers", numbers, list(range(len(numbers))))
        return raw.headers["x-semblance-cache"], text, response.model_dump(), kinds

    def helper(self, **options):
        """The streaming helper's final response and the types of its events."""
        with self.sdk.responses.stream(model="demo", input=QUESTION, **options) as events:
            kinds = [event.type for event in events]
            return events.get_final_response(), kinds


def expect(what, got, wanted):
    """One check."""
    assert got == wanted, f"{what}: {got!r}, not {wanted!r}"
    print(f"ok  {what}")


def shape(kinds):
    """Types of events without repetitions."""
    return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]


def text_of(response):
    """All text of a response."""
    return response["output"][0]["content"][0]["text"]


def whole_answers(base_url):
    """A JSON answer, again in both shapes and in other words."""
    client = Client(base_url)
    miss = client.ask()
    expect("a new question is a miss", miss[0], "miss")
    expect("the same question", client.ask(), ("hit-exact", miss[1]))
    expect("re-worded", client.ask(REWORDED), ("hit-semantic", miss[1]))
    said = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
    expect("the same as items", client.ask(said), ("hit-exact", miss[1]))
    outcome, text, response, _ = client.stream()
    expect("replayed as a stream", (outcome, text, response), ("hit-exact", text_of(miss[1]), miss[1]))
    labelled = client.ask(metadata={"who": "second"}, max_output_tokens=999)
    wanted = {**miss[1], "metadata": {"who": "second"}, "max_output_tokens": 999}
    expect("the asker's own labels", labelled, ("hit-exact", wanted))


def streams(base_url):
    """A streamed answer, again in both shapes and through the helper."""
    client = Client(base_url)
    outcome, text, response, kinds = client.stream()
    expect("a new question as a stream is a miss", outcome, "miss")
    again = client.stream()
    expect("the stream again", again[:3], ("hit-exact", text, response))
    expect("the same kinds of events", shape(again[3]), shape(kinds))
    expect("the stream replayed as JSON", client.ask(), ("hit-exact", response))
    final, helped = client.helper()
    expect("the streaming helper's final response", (final.output_text, final.id), (text, response["id"]))
    expect("the streaming helper's usage", final.usage.total_tokens, response["usage"]["total_tokens"])
    expect("the streaming helper's events", shape(helped), shape(kinds))


def structured(base_url):
    """Parsed answers, whole and streamed."""
    client = Client(base_url)
    parsed = [client.sdk.responses.parse(model="demo", input=QUESTION, text_format=Said) for _ in range(2)]
    expect("a parsed answer again", parsed[1].output_parsed, parsed[0].output_parsed)
    final, _ = client.helper(text_format=Said)
    expect("a parsed answer from the streaming helper", final.output_parsed, parsed[0].output_parsed)


def turns(base_url):
    """Second turns: given in full they are cached, by id they pass."""
    client = Client(base_url)
    _, first = client.ask()
    history = [{"role": "user", "content": QUESTION}, *first["output"], {"role": "user", "content": FURTHER}]
    expect("a second turn is a miss", client.ask(history)[0], "miss")
    expect("the second turn again", client.ask(history)[0], "hit-exact")
    expect("a turn by id", client.ask(FURTHER, previous_response_id=first["id"])[0], "bypass")
    reference = [{"type": "item_reference", "id": first["output"][0]["id"]}, {"role": "user", "content": FURTHER}]
    expect("an item by id", client.ask(reference)[0], "bypass")


def refusals(base_url):
    """Errors of the gateway and of the provider."""
    client = Client(base_url)
    try:
        client.sdk.with_options(max_retries=2).responses.create(
            model="demo", input=f"Something new: {uuid.uuid4()}", extra_headers={"cache-control": "only-if-cached"}
        )
        raise AssertionError("only-if-cached on a cold cache must be an error")
    except openai.APIStatusError as error:
        expect("only-if-cached on a cold cache", (error.status_code, error.code), (504, "only_if_cached_miss"))
    try:
        client.sdk.responses.retrieve("resp_unknown")
        raise AssertionError("the built-in model keeps no responses")
    except openai.NotFoundError as error:
        expect("a response by its id passes through", error.status_code, 404)
    cut = client.ask(max_output_tokens=3)
    expect("a cut answer is a miss", (cut[0], cut[1]["status"]), ("miss", "incomplete"))
    expect("a cut answer is not kept", client.ask()[0], "miss")


def main(base_url):
    """All checks."""
    for checks in (whole_answers, streams, structured, turns, refusals):
        checks(base_url)


main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1")
