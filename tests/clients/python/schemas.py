"""Replays against the providers' own types, strictly: no wrong type, no key that the type does not know.

The official SDKs' types are generated from the providers' OpenAPI descriptions. The descriptions themselves are in no
package, so these stand in for them.
"""

import json

import httpx
from pydantic import BaseModel, TypeAdapter

from harness import CHECKS, expect


def check_json(url, headers, body, kind):
    """The second answer is a hit and of this kind."""
    for outcome in ("miss", "hit-exact"):
        answer = httpx.post(url, headers=headers, json=body)
        expect("outcome", answer.headers["x-semblance-cache"], outcome)
    valid(kind, answer.content)


def check_frames(url, headers, body, kind):
    """Each frame of a replayed stream is of this kind."""
    httpx.post(url, headers=headers, json=body)
    answer = httpx.post(url, headers=headers, json=body)
    expect("outcome", answer.headers["x-semblance-cache"], "hit-exact")
    expect("media type", answer.headers["content-type"], "text/event-stream; charset=utf-8")
    frames = [frame for frame in answer.text.split("\n\n") if frame]
    for frame in frames:
        lines = dict(line.split(": ", 1) for line in frame.split("\n"))
        if lines["data"] == "[DONE]":
            expect("nothing after the marker", frame, frames[-1])
            continue
        valid(kind, lines["data"])
        if "event" in lines:
            expect("the event's name", lines["event"], json.loads(lines["data"])["type"])


def valid(kind, text):
    """Of this kind, in the strict mode of the validator."""
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    known(adapter.validate_json(text, strict=True), "")
    CHECKS.append("schema")


def known(value, where):
    """Fails on a member that its type does not declare."""
    if isinstance(value, BaseModel):
        extra = value.__pydantic_extra__ or {}
        assert not extra, f"{where}: unknown members {sorted(extra)}"
        for name in type(value).model_fields:
            known(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, list):
        for part in value:
            known(part, f"{where}[]")
