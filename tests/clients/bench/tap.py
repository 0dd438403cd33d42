"""Between a client and the gateway: passes every byte on as it is, and keeps a record of requests and answers.

So no client needs a hook of its own for what it does not show: headers, retries, the number of calls, the very bytes.
An exchange is on record before the client sees the first byte of its answer. A connection that breaks on one side is
closed on the other.
"""

import socket
import threading


class Tap:
    """Listens on a free port in front of `target`; appends every exchange to `record`."""

    def __init__(self, target, record):
        host, port = target.rsplit(":", 1)
        self.target, self.record = (host, int(port)), record
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        """Takes connections for ever."""
        while True:
            client = self.listener.accept()[0]
            try:
                self.join(client)
            except OSError:
                # The gateway is gone; the client must not wait for it.
                client.close()

    def join(self, client):
        """Joins a client with the gateway."""
        gateway, open_exchanges = socket.create_connection(self.target), []

        def answered(message):
            if message["start"].split(" ")[1].startswith("1"):
                return
            exchange = {"request": open_exchanges.pop(0), "response": message}
            self.record.append(exchange)

        for source, sink, told in ((client, gateway, open_exchanges.append), (gateway, client, answered)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=relay, args=(source, sink, Messages(told)), daemon=True).start()


def relay(source, sink, messages):
    """Passes on what comes until either side is gone."""
    try:
        while data := source.recv(65536):
            messages.feed(data)
            sink.sendall(data)
    except OSError:
        pass
    for side in (source, sink):
        try:
            side.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Messages:
    """Splits the bytes of one direction into HTTP/1.1 messages; `told` gets each as its head is complete."""

    def __init__(self, told):
        self.told, self.buffer, self.message, self.left = told, b"", None, None

    def feed(self, data):
        """Takes more bytes."""
        self.buffer += data
        while self.step():
            pass

    def step(self):
        """Takes one piece off the buffer; whether there may be more."""
        if self.message is None:
            return self.head()
        if self.left is None:
            return self.chunk_size()
        if not self.buffer and self.left:
            return False
        part, self.buffer = self.buffer[: self.left], self.buffer[self.left :]
        self.message["body"] += part
        self.left -= len(part)
        if self.left == 0:
            self.finish_part()
        return True

    def head(self):
        """The start line and the headers."""
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        start, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self.buffer, self.left = rest, None if self.chunked else int(headers.get("content-length", 0))
        self.message = {"start": start, "headers": headers, "body": b"", "complete": False}
        self.told(self.message)
        return True

    def chunk_size(self):
        """The line before a chunk's bytes; the last chunk ends the message."""
        line, end, rest = self.buffer.partition(b"\r\n")
        if not end:
            return False
        if not line:
            self.buffer = rest
            return True
        size = int(line.split(b";")[0], 16)
        if size == 0:
            if not rest.startswith(b"\r\n"):
                return False
            self.buffer, self.chunked = rest[2:], False
            self.finish_part()
            return True
        self.buffer, self.left = rest, size
        return True

    def finish_part(self):
        """A chunk or a whole body has come."""
        self.left = None
        if not self.chunked:
            self.message["complete"] = True
            self.message = None
