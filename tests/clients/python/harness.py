"""What every Python client's checks share: a scenario runs twice, and the second time must not show.

A scenario is a function; what it returns is compared as plain data. What the gateway did comes from the record of the
bytes between the client and it, so that no client needs hooks.
"""

import json
import re
import sys
import traceback
import urllib.request
import uuid

# The gateway; one that does not store tool calls; and where to ask what they and the provider saw.
GATEWAY, PLAIN_GATEWAY, DESK = sys.argv[1:4]
# The outcomes for which the provider is asked.
ASKED = {"miss", "bypass"}
# Members that are new in every answer, and ids that are. The ids of response objects are handles, and stay.
FRESH = {"created", "created_at", "request_id", "_request_id", "_response_ms", "timestamp", "headers"}
FRESH_ID = re.compile(r"^(chatcmpl-|cmpl-|msg_01|lc_run-|run-)")
PNG = "iVBORw0KGgo="
checks = 0


def key():
    """A credential of its own: a scope without entries."""
    return f"sk-{uuid.uuid4()}"


def news():
    """What happened since this was last asked."""
    with urllib.request.urlopen(f"http://{DESK}/") as answer:
        return json.load(answer)


def plain(value):
    """A parsed object as plain data, without what is new in every answer."""
    for dump in ("model_dump", "to_dict", "dict"):
        if hasattr(value, dump) and not isinstance(value, type):
            value = getattr(value, dump)()
    if hasattr(value, "__dict__"):
        value = vars(value)
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items() if name not in FRESH}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, str) and FRESH_ID.match(value):
        return "fresh"
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def expect(what, got, wanted):
    """One check."""
    global checks
    assert got == wanted, f"{what}: {got!r}, not {wanted!r}"
    checks += 1


def does(what, wanted, scenario):
    """Runs a scenario; `wanted` has the outcome of each request it makes of the gateway, in order: `miss hit-exact`."""
    news()
    result = scenario()
    seen = news()
    outcomes = [exchange["outcome"] for exchange in seen["exchanges"]]
    why = [exchange["headers"].get("cache-status") for exchange in seen["exchanges"]]
    expect(f"{what} ({why}): outcomes", outcomes, wanted.split())
    expect(f"{what}: requests of the provider", seen["provider"], sum(outcome in ASKED for outcome in outcomes))
    return result


def hits(what, scenario, requests=1):
    """A scenario that the cache answers."""
    return plain(does(what, " ".join(["hit-exact"] * requests), scenario))


def twice(what, scenario, requests=1):
    """The same scenario against an empty cache and a full one: the client must see the same."""
    miss = plain(does(f"{what}, new", " ".join(["miss"] * requests), scenario))
    hit = hits(f"{what}, again", scenario, requests)
    expect(f"{what}: the same object", hit, miss)
    return hit


def never(what, scenario, outcome="miss"):
    """A scenario that no cache may answer: it reaches the provider both times."""
    does(f"{what}, new", outcome, scenario)
    return does(f"{what}, again", outcome, scenario)


def raises(what, kind, wanted, scenario):
    """A scenario that must raise, after requests with these outcomes; returns what it raised."""

    def raised():
        try:
            got = scenario()
        except kind as error:
            return error
        raise AssertionError(f"{what}: nothing was raised, but {got!r} returned")

    return does(what, wanted, raised)


def retries(what, wanted, scenario):
    """A scenario of one call; `wanted` has the retry counts that the client sent with its requests."""
    news()
    result = scenario()
    expect(what, [exchange["retry"] for exchange in news()["exchanges"]], wanted)
    return result


def run(client, *groups):
    """Runs groups of checks; a line each."""
    global checks
    failed = False
    for group in groups:
        name = f"{client}, {group.__name__.replace('_', ' ')}"
        checks = 0
        try:
            group()
        except Exception as error:
            failed = True
            traceback.print_exc(file=sys.stdout)
            print(f"FAIL {name}: {error}", flush=True)
        else:
            print(f"ok  {name}: {checks} checks", flush=True)
    sys.exit(failed)
