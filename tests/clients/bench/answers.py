"""What the scripted provider says, in the shapes of the real APIs: one function a protocol, pure and deterministic.

Each returns the whole answer and the frames of the same answer as a stream.
"""

import base64
import hashlib
import json
import struct

# What a schema's properties are filled with, for tool arguments and structured output alike.
SAMPLES = {"city": "Paris", "country": "France"}
THOUGHT = "Let me think."


def text_of(content):
    """The text of a message's content, in any protocol; other parts by a digest of theirs."""
    if isinstance(content, str):
        return content
    digest = lambda part: hashlib.sha256(json.dumps(part).encode()).hexdigest()[:8]
    return " ".join(part.get("text") or f"<{part['type']} {digest(part)}>" for part in content or [])


def sample(schema):
    """A value of this JSON schema's object."""
    return {name: SAMPLES.get(name, "text") for name in (schema or {}).get("properties", {})}


def pieces(text):
    """A text as a stream's deltas: words, the odd one cut in the middle."""
    words = text.split(" ")
    return [word if at == 0 else f" {word}" for at, word in enumerate(words)]


class Ask:
    """What all protocols ask: who spoke last, what, after how many turns, with which tools and for which shape."""

    def __init__(self, body, protocol, number):
        turns = body.get("input") if protocol == "responses" else body.get("messages")
        turns = [{"role": "user", "content": turns}] if isinstance(turns, str) else turns or []
        users = [turn for turn in turns if turn.get("role") == "user"]
        last = turns[-1] if turns else {}
        blocks = last.get("content") if isinstance(last.get("content"), list) else []
        self.body, self.number, self.model = body, number, body.get("model", "")
        self.behaviour = self.model.split("-")[0]
        self.question, self.turns = text_of(users[-1]["content"]) if users else "", len(turns)
        self.has_result = (
            last.get("role") == "tool"
            or last.get("type") == "function_call_output"
            or any(isinstance(part, dict) and part.get("type") == "tool_result" for part in blocks)
        )
        self.tools = [tool.get("function", tool) for tool in body.get("tools") or []]
        format = (
            body.get("response_format")
            or (body.get("text") or {}).get("format")
            or (body.get("output_config") or {}).get("format")
            or {}
        )
        self.schema = (
            (format.get("json_schema") or format).get("schema") if format.get("type") == "json_schema" else None
        )
        self.thinks = self.behaviour == "thinks"
        self.runs_out = self.behaviour == "length"

    @property
    def calls(self):
        """The tool calls to answer with, as name and arguments: one, or two where both are asked for."""
        choice = self.body.get("tool_choice")
        choice = choice.get("type") if isinstance(choice, dict) else choice
        forced = choice not in (None, "auto", "none")
        if self.has_result or not self.tools or not (forced or "weather" in self.question.lower()):
            return []
        tool = self.tools[0]
        first = sample(tool.get("parameters") or tool.get("input_schema"))
        called = [first, {**first, "city": "Rome"}] if "both" in self.question else [first]
        return [(tool["name"], arguments) for arguments in called]

    @property
    def text(self):
        """What there is to say where no tool is called."""
        if self.schema:
            return json.dumps(sample(self.schema))
        if self.has_result:
            return "It is 18 °C and sunny."
        if self.behaviour == "counting":
            return f"Answer number {self.number}."
        return f"You asked, in turn {self.turns}: {self.question} – naturally ☂"


def chat(ask):
    """A chat completion, and its chunks up to the marker."""
    base = {
        "id": f"chatcmpl-up{ask.number}",
        "created": 1760000000 + ask.number,
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 7,
        "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    calls = [
        {
            "id": f"call_{ask.number}_{at}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for at, (name, arguments) in enumerate(ask.calls)
    ]
    message = {"role": "assistant", "content": None if calls else ask.text, "refusal": None, "annotations": []}
    if ask.thinks:
        message["reasoning_content"] = THOUGHT
    if calls:
        message["tool_calls"] = calls
    finish = "tool_calls" if calls else "length" if ask.runs_out else "stop"
    whole = {
        **base,
        "object": "chat.completion",
        "usage": usage,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
    }

    wants_usage = (ask.body.get("stream_options") or {}).get("include_usage")
    extra = {"usage": None} if wants_usage else {}

    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**base, "object": "chat.completion.chunk", "choices": [choice], **extra}

    chunks = [chunk({"role": "assistant", "content": None if calls else "", "refusal": None})]
    if ask.thinks:
        chunks += [chunk({"reasoning_content": piece}) for piece in pieces(THOUGHT)]
    for at, call in enumerate(calls):
        function = call["function"]
        chunks.append(chunk({"tool_calls": [{"index": at, **call, "function": {**function, "arguments": ""}}]}))
    # The arguments of two calls come in turns.
    halves = [(at, half) for half in (0, 1) for at in range(len(calls))]
    for at, half in halves:
        arguments = calls[at]["function"]["arguments"]
        part = arguments[:8] if half == 0 else arguments[8:]
        chunks.append(chunk({"tool_calls": [{"index": at, "function": {"arguments": part}}]}))
    if not calls:
        chunks += [chunk({"content": piece}) for piece in pieces(ask.text)]
    chunks.append(chunk({}, finish))
    if wants_usage:
        chunks.append({**base, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return whole, [(None, chunk) for chunk in chunks] + [(None, "[DONE]")]


def completion(body, number):
    """A legacy completion, and its chunks up to the marker."""
    base = {
        "id": f"cmpl-up{number}",
        "object": "text_completion",
        "created": 1760000000 + number,
        "model": body["model"],
    }
    text = f"After {body['prompt']!r} comes more."
    choice = lambda text, finish: {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    chunks = [{**base, "choices": [choice(piece, None)]} for piece in pieces(text)] + [
        {**base, "choices": [choice("", "stop")]}
    ]
    return {**base, "choices": [choice(text, "stop")], "usage": usage}, [(None, chunk) for chunk in chunks] + [
        (None, "[DONE]")
    ]


def response(ask):
    """A response object, and its events."""
    body, number = ask.body, ask.number
    items = [
        {
            "id": f"fc_{number}_{at}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_{number}_{at}",
            "name": name,
            "arguments": json.dumps(arguments),
        }
        for at, (name, arguments) in enumerate(ask.calls)
    ]
    if not items:
        content = {"type": "output_text", "text": ask.text, "annotations": [], "logprobs": []}
        items = [
            {"id": f"msg_{number}", "type": "message", "status": "completed", "role": "assistant", "content": [content]}
        ]
    if ask.thinks:
        items.insert(
            0, {"id": f"rs_{number}", "type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]}
        )
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 16,
    }
    short = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}} if ask.runs_out else {}
    whole = {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1760000000 + number,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": None,
        "model": ask.model,
        "output": items,
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": [{"strict": True, **tool} for tool in body.get("tools") or []],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "metadata": {},
        **short,
    }
    begun = {**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    events = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    for index, item in enumerate(items):
        events += item_events(item, index)
    events.append({"type": f"response.{whole['status']}", "response": whole})
    return whole, [(event["type"], {**event, "sequence_number": at}) for at, event in enumerate(events)]


def item_events(item, index):
    """The events of one output item."""
    at = {"item_id": item["id"], "output_index": index}
    if item["type"] == "function_call":
        empty = {**item, "status": "in_progress", "arguments": ""}
        name, arguments = item["name"], item["arguments"]
        inner = [
            {"type": "response.function_call_arguments.delta", **at, "delta": arguments},
            {"type": "response.function_call_arguments.done", **at, "name": name, "arguments": arguments},
        ]
    elif item["type"] == "reasoning":
        empty, at = {**item, "summary": []}, {**at, "summary_index": 0}
        part = item["summary"][0]
        inner = [
            {"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}},
            {"type": "response.reasoning_summary_text.delta", **at, "delta": part["text"]},
            {"type": "response.reasoning_summary_text.done", **at, "text": part["text"]},
            {"type": "response.reasoning_summary_part.done", **at, "part": part},
        ]
    else:
        empty, at = {**item, "status": "in_progress", "content": []}, {**at, "content_index": 0}
        part = item["content"][0]
        inner = [{"type": "response.content_part.added", **at, "part": {**part, "text": ""}}]
        inner += [
            {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
            for piece in pieces(part["text"])
        ]
        inner += [
            {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []},
            {"type": "response.content_part.done", **at, "part": part},
        ]
    return [
        {"type": "response.output_item.added", "output_index": index, "item": empty},
        *inner,
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def message(ask):
    """An Anthropic message, and its events."""
    calls = [
        {
            "type": "tool_use",
            "id": f"toolu_{ask.number}_{at}",
            "name": name,
            "input": arguments,
            "caller": {"type": "direct"},
        }
        for at, (name, arguments) in enumerate(ask.calls)
    ]
    blocks = calls or [{"type": "text", "text": ask.text}]
    if ask.thinks:
        blocks = [{"type": "thinking", "thinking": THOUGHT, "signature": "c2lnbmVk"}, *blocks]
    stop = "tool_use" if calls else "max_tokens" if ask.runs_out else "end_turn"
    usage = {
        "input_tokens": 9,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 7,
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "inference_geo": "not_available",
        "output_tokens_details": {"thinking_tokens": 0},
        "server_tool_use": None,
        "service_tier": "standard",
    }
    whole = {
        "id": f"msg_01up{ask.number}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": blocks,
        "stop_reason": stop,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": usage,
    }
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(blocks):
        empty, deltas = block_deltas(block)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "ping"}] if index == 0 else []
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    used = {
        name: usage[name]
        for name in (
            "input_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
            "output_tokens",
            "output_tokens_details",
            "server_tool_use",
        )
    }
    delta = {"stop_reason": stop, "stop_sequence": None, "stop_details": None, "container": None}
    events += [{"type": "message_delta", "delta": delta, "usage": used}, {"type": "message_stop"}]
    return whole, [(event["type"], event) for event in events]


def block_deltas(block):
    """A content block as it begins, and the deltas that fill it."""
    if block["type"] == "tool_use":
        arguments = json.dumps(block["input"])
        return {**block, "input": {}}, [
            {"type": "input_json_delta", "partial_json": part} for part in ("", arguments[:8], arguments[8:])
        ]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        return {**block, "thinking": "", "signature": ""}, [
            *deltas,
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]


def embeddings(body):
    """One vector for each input, floats or base64 as asked."""
    inputs = body["input"]
    inputs = inputs if isinstance(inputs, list) and not isinstance(inputs[0], int) else [inputs]

    def encoded(text):
        seed = hashlib.sha256(json.dumps(text).encode()).digest()
        packed = struct.pack("<8f", *((byte - 127.5) / 256 for byte in seed[:8]))
        return (
            base64.b64encode(packed).decode()
            if body.get("encoding_format") == "base64"
            else struct.unpack("<8f", packed)
        )

    data = [{"object": "embedding", "index": at, "embedding": encoded(text)} for at, text in enumerate(inputs)]
    return {
        "object": "list",
        "data": data,
        "model": body["model"],
        "usage": {"prompt_tokens": 4 * len(inputs), "total_tokens": 4 * len(inputs)},
    }


def models():
    """The list of models."""
    return {
        "object": "list",
        "data": [{"id": "answers", "object": "model", "created": 1760000000, "owned_by": "checks"}],
    }


def failure(status, anthropic):
    """An error as the provider of the protocol words it."""
    kinds = {401: "authentication_error", 404: "not_found_error", 422: "invalid_request_error", 429: "rate_limit_error"}
    error = {"type": kinds.get(status, "api_error"), "message": f"status {status} on demand"}
    return (
        {"type": "error", "error": error, "request_id": "req_1"}
        if anthropic
        else {"error": {**error, "param": None, "code": None}}
    )
