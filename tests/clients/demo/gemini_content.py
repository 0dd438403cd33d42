"""Google's client for Gemini against a running gateway: what it parses must not depend on where the answer came from.

    pip install google-genai==3.6.1
    semblance serve --upstream demo &
    python3 tests/clients/demo/gemini_content.py http://127.0.0.1:8080

Exits 0 and prints one line a check, or fails on the first difference.
"""

import sys
import uuid

from google import genai
from google.genai import errors, types

QUESTION = "How do I enable two-factor authentication?"
REWORDED = "How can I enable two-factor authentication?"
# New in every answer: its id, and the headers of the response.
FRESH = {"response_id", "sdk_http_response"}


class Client:
    """Asks in a scope of its own, so that every run starts cold."""

    def __init__(self, base_url):
        options = types.HttpOptions(base_url=base_url)
        # Kept: it closes its connections when it goes.
        self.sdk = genai.Client(api_key=str(uuid.uuid4()), http_options=options)
        self.models = self.sdk.models

    def ask(self, question, **config):
        """Outcome and response, as the client parsed it."""
        config = types.GenerateContentConfig(**config)
        response = self.models.generate_content(model="demo", contents=question, config=config)
        return outcome(response), plain(response)

    def stream(self, question):
        """Outcome, the last event, and the texts of all of them."""
        events = list(self.models.generate_content_stream(model="demo", contents=question))
        return outcome(events[0]), plain(events[-1]), "".join(event.text for event in events)


def outcome(response):
    """What the gateway said of it."""
    return {name.lower(): value for name, value in response.sdk_http_response.headers.items()}["x-semblance-cache"]


def plain(response):
    """A parsed response as plain data, without what is new in every one."""
    return response.model_dump(exclude_none=True, exclude=FRESH)


def expect(what, got, wanted):
    """One check."""
    assert got == wanted, f"{what}: {got!r}, not {wanted!r}"
    print(f"ok  {what}")


def main(base_url):
    """All checks."""
    client = Client(base_url)
    came, miss = client.ask(QUESTION)
    text = miss["candidates"][0]["content"]["parts"][0]["text"]
    expect("a new question is a miss", came, "miss")
    expect("the same question", client.ask(QUESTION), ("hit-exact", miss))
    expect("re-worded", client.ask(REWORDED), ("hit-semantic", miss))
    came, last, streamed = client.stream(QUESTION)
    expect("as a stream", (came, streamed), ("hit-exact", text))
    expect("whose last event counts the same", last["usage_metadata"], miss["usage_metadata"])
    expect("and says why it ended", last["candidates"][0]["finish_reason"], miss["candidates"][0]["finish_reason"])

    came, _, streamed = client.stream("How tall is Mount Kenya?")
    expect("a new stream is a miss", came, "miss")
    came, _, again = client.stream("How tall is Mount Kenya?")
    expect("the same stream", (came, again), ("hit-exact", streamed))
    came, whole = client.ask("How tall is Mount Kenya?")
    expect("as one answer", (came, whole["candidates"][0]["content"]["parts"][0]["text"]), ("hit-exact", streamed))
    expect("a near miss", client.ask("How do I disable two-factor authentication?")[0], "miss")
    expect("another temperature", client.ask(QUESTION, temperature=0.2)[0], "miss")
    expect("another system text", client.ask(QUESTION, system_instruction="Be brief.")[0], "miss")
    expect("and again", client.ask(QUESTION, system_instruction="Be brief.")[0], "hit-exact")
    search = types.Tool(google_search=types.GoogleSearch())
    for _ in range(2):
        expect("with the provider's search", client.ask(QUESTION, tools=[search])[0], "bypass")
    expect("another key", Client(base_url).ask(QUESTION)[0], "miss")
    expect("tokens are counted", client.models.count_tokens(model="demo", contents=QUESTION).total_tokens > 0, True)
    try:
        client.models.get(model="nothing")
        raise AssertionError("nothing was raised")
    except errors.ClientError as error:
        expect("the provider's errors are raised", (error.code, error.status), (404, "NOT_FOUND"))


main(sys.argv[1])
