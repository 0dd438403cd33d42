"""What every Python client's checks share: a scenario runs twice, and the second time must not show."""

import json
import sys
import urllib.request
import uuid

GATEWAY, PROVIDER = sys.argv[1], sys.argv[2]
# What is new in every answer; the ids of a response object are handles, and stay.
FRESH = {"id", "created", "created_at", "request_id", "_request_id", "response_ms", "timestamp", "run_id"}
CHECKS = []


def key():
    """A credential of its own: a scope without entries."""
    return f"sk-{uuid.uuid4()}"


def count():
    """Requests that have reached the provider."""
    with urllib.request.urlopen(f"http://{PROVIDER}/count") as answer:
        return json.load(answer)["count"]


def plain(value):
    """A parsed object as plain data, without what is new in every answer."""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    elif hasattr(value, "dict"):
        value = value.dict()
    elif hasattr(value, "__dict__") and not isinstance(value, (str, bytes)):
        value = vars(value)
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items() if name not in FRESH}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def expect(what, got, wanted):
    """One check."""
    assert got == wanted, f"{what}: {got!r}, not {wanted!r}"
    CHECKS.append(what)


def calls(what, wanted, scenario):
    """Runs a scenario and checks how many requests reached the provider."""
    before = count()
    result = scenario()
    expect(f"{what}: provider calls", count() - before, wanted)
    return result


def twice(what, scenario, requests=1):
    """The same scenario against an empty cache and a full one: the client must see the same."""
    miss = plain(calls(f"{what}, new", requests, scenario))
    hit = plain(calls(f"{what}, again", 0, scenario))
    expect(f"{what}: the same object", hit, miss)
    return hit


def never(what, scenario, requests=1):
    """A scenario that no cache may answer: it reaches the provider both times."""
    calls(f"{what}, new", requests, scenario)
    return calls(f"{what}, again", requests, scenario)


def raises(what, kind, scenario):
    """A scenario that must raise; returns what it raised."""
    try:
        scenario()
    except kind as error:
        CHECKS.append(what)
        return error
    raise AssertionError(f"{what}: nothing was raised")


def done(client):
    """The summary of one client."""
    print(f"ok  {client}: {len(CHECKS)} checks")
