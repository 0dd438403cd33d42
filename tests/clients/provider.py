"""A provider for the client checks: deterministic, and able to fail, cut and call tools on demand.

    python3 tests/clients/provider.py          # prints {"listen": "127.0.0.1:PORT"}

It speaks OpenAI's chat completions, responses, embeddings and models and Anthropic's messages, JSON and streams, in the
shapes of the real APIs. The model's name says how it behaves:

- `fail-STATUS-TIMES`: the first TIMES requests of a credential for it fail with STATUS, later ones are answered;
- `cut-N`: a stream breaks off after N frames, without an end;
- `length`: the answer stops for want of tokens;
- anything else answers.

With tools offered, a question about the weather is answered by a call of the first tool, and a tool's result by text. A
request for structured output gets JSON. `GET /count` says how many requests came, `GET /last` what the last one was.
"""

import base64
import hashlib
import json
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOCK = threading.Lock()
SEEN = {"count": 0, "last": {}, "failed": {}}


def text_of(content):
    """The text of a message's content, in any protocol."""
    if isinstance(content, str):
        return content
    parts = content or []
    return " ".join(
        part.get("text") or f"<{part['type']} {hashlib.sha256(json.dumps(part).encode()).hexdigest()[:8]}>"
        for part in parts
        if part.get("type") != "tool_result"
    )


class Ask:
    """What all protocols ask: who spoke last, what, how often, and with which tools."""

    def __init__(self, body, protocol):
        turns = body.get("input") if protocol == "responses" else body.get("messages")
        turns = [{"role": "user", "content": turns}] if isinstance(turns, str) else turns or []
        last = turns[-1] if turns else {}
        users = [turn for turn in turns if turn.get("role") == "user"]
        self.model, self.stream = body.get("model", ""), bool(body.get("stream"))
        self.question = text_of(users[-1]["content"]) if users else ""
        self.turns = len(turns)
        is_result = lambda part: isinstance(part, dict) and part.get("type") == "tool_result"
        blocks = last.get("content") if isinstance(last.get("content"), list) else []
        self.result = last.get("role") == "tool" or last.get("type") == "function_call_output" or any(map(is_result, blocks))
        self.tools = [] if self.result else [tool.get("function", tool)["name"] for tool in body.get("tools") or []]
        self.calls = bool(self.tools) and "weather" in self.question.lower()
        schema = body.get("response_format") or (body.get("text") or {}).get("format") or {}
        self.structured = schema.get("type") in ("json_schema", "json_object")
        self.finished = "length" if self.model == "length" else "stop"

    @property
    def answer(self):
        """What there is to say."""
        if self.structured:
            return json.dumps({"city": "Paris", "country": "France"})
        if self.result:
            return "It is 18 degrees and sunny."
        return f"You asked, in turn {self.turns}: {self.question}"

    def pieces(self):
        """The answer in the pieces of a stream."""
        words = self.answer.split(" ")
        return [word if at == 0 else f" {word}" for at, word in enumerate(words)]


ARGUMENTS = '{"city": "Paris"}'


def chat(ask, number):
    """A chat completion, and its chunks."""
    base = {"id": f"chatcmpl-{number}", "created": 1760000000 + number, "model": ask.model, "service_tier": "default",
            "system_fingerprint": "fp_1"}
    usage = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16,
             "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
             "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
                                           "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}
    call = {"id": f"call_{number}", "type": "function", "function": {"name": (ask.tools or [""])[0], "arguments": ARGUMENTS}}
    message = {"role": "assistant", "content": None if ask.calls else ask.answer, "refusal": None, "annotations": []}
    if ask.calls:
        message["tool_calls"] = [call]
    finish = "tool_calls" if ask.calls else ask.finished
    whole = {**base, "object": "chat.completion", "usage": usage,
             "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}]}

    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**base, "object": "chat.completion.chunk", "choices": [choice]}

    chunks = [chunk({"role": "assistant", "content": None if ask.calls else "", "refusal": None})]
    if ask.calls:
        chunks.append(chunk({"tool_calls": [{"index": 0, **call, "function": {**call["function"], "arguments": ""}}]}))
        chunks += [chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}) for part in ('{"city": ', '"Paris"}')]
    else:
        chunks += [chunk({"content": piece}) for piece in ask.pieces()]
    chunks.append(chunk({}, finish))
    return whole, chunks, {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}


def responses(ask, number, body):
    """A response object, and its events."""
    item = {"id": f"msg_{number}", "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": ask.answer, "annotations": [], "logprobs": []}]}
    if ask.calls:
        item = {"id": f"fc_{number}", "type": "function_call", "status": "completed", "call_id": f"call_{number}",
                "name": ask.tools[0], "arguments": ARGUMENTS}
    usage = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 7,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 16}
    whole = {"id": f"resp_{number}", "object": "response", "created_at": 1760000000 + number, "status": "completed",
             "background": False, "error": None, "incomplete_details": None, "instructions": body.get("instructions"),
             "max_output_tokens": None, "model": ask.model, "output": [item], "parallel_tool_calls": True,
             "previous_response_id": None, "reasoning": {"effort": None, "summary": None},
             "temperature": 1.0, "text": body.get("text") or {"format": {"type": "text"}},
             "tool_choice": body.get("tool_choice", "auto"), "tools": body.get("tools") or [], "top_p": 1.0,
             "truncation": "disabled", "usage": usage, "metadata": {}}
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    at = {"item_id": item["id"], "output_index": 0}
    if ask.calls:
        events.append({"type": "response.output_item.added", "output_index": 0,
                       "item": {**item, "status": "in_progress", "arguments": ""}})
        events.append({"type": "response.function_call_arguments.delta", **at, "delta": ARGUMENTS})
        events.append({"type": "response.function_call_arguments.done", **at, "name": item["name"], "arguments": ARGUMENTS})
    else:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        at_part = {**at, "content_index": 0}
        events.append({"type": "response.output_item.added", "output_index": 0,
                       "item": {**item, "status": "in_progress", "content": []}})
        events.append({"type": "response.content_part.added", **at_part, "part": part})
        events += [{"type": "response.output_text.delta", **at_part, "delta": piece, "logprobs": []} for piece in ask.pieces()]
        events.append({"type": "response.output_text.done", **at_part, "text": ask.answer, "logprobs": []})
        events.append({"type": "response.content_part.done", **at_part, "part": {**part, "text": ask.answer}})
    events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return whole, [{**event, "sequence_number": at} for at, event in enumerate(events)]


def messages(ask, number):
    """An Anthropic message, and its events."""
    block = {"type": "text", "text": ask.answer}
    if ask.calls:
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": ask.tools[0], "input": json.loads(ARGUMENTS)}
    stop = "tool_use" if ask.calls else {"stop": "end_turn", "length": "max_tokens"}[ask.finished]
    usage = {"input_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 7}
    whole = {"id": f"msg_01{number}", "type": "message", "role": "assistant", "model": ask.model, "content": [block],
             "stop_reason": stop, "stop_sequence": None, "usage": usage}
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    empty = {**block, "input": {}} if ask.calls else {**block, "text": ""}
    events = [{"type": "message_start", "message": begun},
              {"type": "content_block_start", "index": 0, "content_block": empty}, {"type": "ping"}]
    if ask.calls:
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", '{"city": ', '"Paris"}')]
    else:
        deltas = [{"type": "text_delta", "text": piece} for piece in ask.pieces()]
    events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    events += [{"type": "content_block_stop", "index": 0},
               {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 7}},
               {"type": "message_stop"}]
    return whole, events


def embeddings(body):
    """One vector for each input."""
    inputs = body["input"] if isinstance(body["input"], list) and not isinstance(body["input"][0], int) else [body["input"]]

    def vector(text):
        seed = hashlib.sha256(json.dumps(text).encode()).digest()
        return [(byte - 127.5) / 256 for byte in seed[:8]]

    def encoded(values):
        if body.get("encoding_format") == "base64":
            return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
        return [struct.unpack("<f", struct.pack("<f", value))[0] for value in values]

    data = [{"object": "embedding", "index": at, "embedding": encoded(vector(text))} for at, text in enumerate(inputs)]
    usage = {"prompt_tokens": 4 * len(inputs), "total_tokens": 4 * len(inputs)}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Says nothing."""

    def do_GET(self):
        """Control, and the list of models."""
        if self.path == "/count":
            return self.json(200, {"count": SEEN["count"]})
        if self.path == "/last":
            return self.json(200, SEEN["last"])
        models = [{"id": "answers", "object": "model", "created": 1760000000, "owned_by": "checks"}]
        return self.json(200, {"object": "list", "data": models})

    def do_POST(self):
        """A request of one of the protocols."""
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.loads(raw)
        key = self.headers.get("authorization") or self.headers.get("x-api-key") or ""
        with LOCK:
            SEEN["count"] += 1
            number = SEEN["count"]
            SEEN["last"] = {"path": self.path, "body": raw.decode()}
            asker = (key, body.get("model"))
            failed = SEEN["failed"].get(asker, 0)
            SEEN["failed"][asker] = failed + 1
        behaviour = body.get("model", "").split("-")
        path = self.path.split("?")[0]
        anthropic = path.endswith("/messages")
        if behaviour[0] == "fail" and failed < int(behaviour[2]):
            return self.fail(int(behaviour[1]), anthropic)
        if path.endswith("/embeddings"):
            return self.json(200, embeddings(body))
        if anthropic:
            whole, events = messages(Ask(body, "messages"), number)
            frames = [(event["type"], event) for event in events]
        elif path.endswith("/responses"):
            whole, events = responses(Ask(body, "responses"), number, body)
            frames = [(event["type"], event) for event in events]
        elif path.endswith("/chat/completions"):
            whole, chunks, usage = chat(Ask(body, "chat"), number)
            if (body.get("stream_options") or {}).get("include_usage"):
                chunks = [{**chunk, "usage": None} for chunk in chunks] + [usage]
            frames = [(None, chunk) for chunk in chunks] + [(None, "[DONE]")]
        else:
            return self.fail(404, anthropic)
        if not body.get("stream"):
            return self.json(200, whole)
        return self.stream(frames, int(behaviour[1]) if behaviour[0] == "cut" else None)

    def json(self, status, value, headers=()):
        """A JSON body."""
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, content in [("content-type", "application/json"), ("content-length", str(len(body))), *headers]:
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(body)

    def fail(self, status, anthropic):
        """An error as the provider of the protocol words it; a client that retries need not wait long."""
        kinds = {401: "authentication_error", 404: "not_found_error", 422: "invalid_request_error", 429: "rate_limit_error"}
        error = {"type": kinds.get(status, "api_error"), "message": f"status {status} on demand"}
        whole = {"type": "error", "error": error, "request_id": "req_1"} if anthropic else {"error": {**error, "param": None, "code": None}}
        limits = [("retry-after-ms", "10"), ("x-ratelimit-remaining-requests", "0"), ("request-id", "req_1"), ("x-request-id", "req_1")]
        self.json(status, whole, limits)

    def stream(self, frames, cut):
        """Server-sent events; cut short, the connection breaks without the last chunk."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event, data in frames[:cut]:
            frame = (f"event: {event}\n" if event else "") + f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n"
            frame = frame.encode()
            self.wfile.write(f"{len(frame):x}\r\n".encode() + frame + b"\r\n")
            self.wfile.flush()
        if cut is not None:
            # What was sent must arrive before the break does.
            time.sleep(0.05)
            self.close_connection = True
            return self.connection.close()
        return self.wfile.write(b"0\r\n\r\n")


def main():
    """Serves until standard input ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(json.dumps({"listen": f"127.0.0.1:{server.server_address[1]}"}), flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
