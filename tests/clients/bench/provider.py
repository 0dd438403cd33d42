"""A provider on loopback: deterministic, and able to fail, break off, and dawdle on demand.

It speaks OpenAI's chat completions, responses, completions, embeddings and models, and Anthropic's messages, JSON and
streams (`answers.py` has the shapes). The model's name says how it behaves:

- `fail-STATUS-TIMES`: a credential's first TIMES requests fail with STATUS, later ones are answered;
- `cut-N`: a stream breaks off after N frames, its connection with it;
- `error-N`: a stream has an error frame after N frames, and ends there;
- `slow-MS`: the answer begins after MS milliseconds;
- `length`: the answer stops for want of tokens; `thinks`: it reasons first; `counting`: no two answers are the same;
- anything else answers.

With tools offered, a question about the weather, or a forced choice, is answered by a call of the first tool (by two
where "both" are asked for), and a tool's result by text. A request for structured output gets JSON of its schema.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import answers

# A client that retries need not wait long; the rest must reach it unchanged.
LIMITS = {"retry-after-ms": "10", "x-ratelimit-remaining-requests": "0", "request-id": "req_1", "x-request-id": "req_1"}


class Provider(ThreadingHTTPServer):
    """Serves in the background; `received` has every POST and what it was answered, in order."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.received, self.asked, self.lock = [], {}, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        """Where it listens."""
        return f"127.0.0.1:{self.server_address[1]}"

    def take(self, path, raw, body, credential):
        """Notes a request; its number, the note, and how often this credential asked for this model before."""
        with self.lock:
            note = {"path": path, "body": raw, "status": None, "answer": b"", "headers": {}}
            self.received.append(note)
            asker = (credential, body.get("model"))
            before = self.asked.get(asker, 0)
            self.asked[asker] = before + 1
            return len(self.received), note, before


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Says nothing."""

    def do_GET(self):
        """The list of models."""
        self.json({}, 200, answers.models())

    def do_POST(self):
        """A request of one of the protocols."""
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.loads(raw)
        path = self.path.split("?")[0].removeprefix("/v1")
        credential = self.headers.get("authorization") or self.headers.get("x-api-key") or ""
        number, note, before = self.server.take(path, raw, body, credential)
        kind, *amounts = str(body.get("model")).split("-")
        if kind == "fail" and before < int(amounts[1]):
            return self.json(note, int(amounts[0]), answers.failure(int(amounts[0]), path == "/messages"), LIMITS)
        if kind == "slow":
            time.sleep(int(amounts[0]) / 1000)
        if path == "/messages/count_tokens":
            return self.json(note, 200, {"input_tokens": 9})
        if path == "/embeddings":
            return self.json(note, 200, answers.embeddings(body))
        if path == "/completions":
            whole, frames = answers.completion(body, number)
        elif path in SHAPES:
            protocol, shape = SHAPES[path]
            whole, frames = shape(answers.Ask(body, protocol, number))
        else:
            return self.json(note, 404, answers.failure(404, False))
        if not body.get("stream"):
            return self.json(note, 200, whole)
        if kind == "error":
            error = answers.failure(529, path == "/messages")
            name = "error" if path != "/chat/completions" else None
            error = (
                {
                    "type": "error",
                    "code": "server_error",
                    "message": "on demand",
                    "param": None,
                    "sequence_number": int(amounts[0]),
                }
                if path == "/responses"
                else error
            )
            frames = [*frames[: int(amounts[0])], (name, error)]
        return self.stream(note, frames, int(amounts[0]) if kind == "cut" else None)

    def json(self, note, status, value, headers={}):
        """A JSON body."""
        body = json.dumps(value, ensure_ascii=False).encode()
        note.update(status=status, answer=body, headers=headers)
        self.send_response(status)
        for name, content in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(body)

    def stream(self, note, frames, cut):
        """Server-sent events; cut short, the connection breaks without the last chunk."""
        note.update(status=200)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event, data in frames[:cut]:
            data = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
            frame = ((f"event: {event}\n" if event else "") + f"data: {data}\n\n").encode()
            self.wfile.write(f"{len(frame):x}\r\n".encode() + frame + b"\r\n")
            self.wfile.flush()
        if cut is not None:
            # What was sent must arrive before the break does.
            time.sleep(0.05)
            self.close_connection = True
            return self.connection.close()
        return self.wfile.write(b"0\r\n\r\n")


SHAPES = {
    "/chat/completions": ("chat", answers.chat),
    "/responses": ("responses", answers.response),
    "/messages": ("messages", answers.message),
}
