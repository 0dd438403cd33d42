"""Installs the clients, starts a scripted provider and gateways in front of it, runs every check, sums up.

    tests/clients/run.sh path/to/semblance [client ...]

Prints one line a group of checks and a summary; 0 if nothing failed. What cannot be had here (Node, a package registry)
is skipped, and said so. Everything it starts listens on loopback, on a port of its own, and ends with it.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from install import Skipped, node_packages, python_packages
from provider import Provider
from tap import Tap

CLIENTS = Path(__file__).resolve().parent.parent
# A client that takes longer than this hangs.
LIMIT_S = 180
FOREIGN = re.compile(r"^(OPENAI|ANTHROPIC|OLLAMA|GOOGLE|GEMINI|LITELLM|LANGCHAIN|LANGSMITH|SEMBLANCE|NODE)_|_PROXY$", re.IGNORECASE)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not FOREIGN.search(name)} | {
    "PYTHONDONTWRITEBYTECODE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
}


class Report:
    """Counts what the checks print."""

    def __init__(self, only):
        self.only, self.passed, self.failed, self.skipped = only, 0, 0, 0

    def wants(self, script):
        """Whether this client was asked for; without a choice, all are."""
        return not self.only or any(name in script.stem for name in self.only)

    def skip(self, what, why):
        """Something that cannot be checked here."""
        print(f"SKIPPED: {what}: {why}", flush=True)
        self.skipped += 1

    def run(self, name, command):
        """A script that prints a line a group: `ok  GROUP: N checks` or `FAIL GROUP: why`."""
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT
        )
        watchdog = threading.Timer(LIMIT_S, process.kill)
        watchdog.start()
        failed = self.failed
        for line in process.stdout:
            print(line, end="", flush=True)
            if group := re.match(r"ok  .*: (\d+) checks", line):
                self.passed += int(group[1])
            self.failed += line.startswith("FAIL ")
        code = process.wait()
        watchdog.cancel()
        if code != 0 and self.failed == failed:
            self.failed += 1
            print(f"FAIL {name}: ended with {code}", flush=True)

    def run_demo(self, script, command):
        """A script that prints a line a check and fails at the first that does not hold."""
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=LIMIT_S)
        checks = sum(line.startswith("ok ") for line in done.stdout.splitlines())
        self.passed += checks
        if done.returncode == 0:
            print(f"ok  {script.stem}, demo upstream: {checks} checks", flush=True)
        else:
            self.failed += 1
            print(
                f"{done.stdout}{done.stderr}FAIL {script.stem}, demo upstream: ended with {done.returncode}", flush=True
            )


class Desk(ThreadingHTTPServer):
    """Where a client's checks ask what happened since they last asked."""

    daemon_threads = True

    def __init__(self, record, received):
        super().__init__(("127.0.0.1", 0), DeskHandler)
        self.record, self.received, self.seen = record, received, (0, 0)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def news(self):
        """The exchanges of the clients with the gateway, and how many requests the provider got."""
        exchanges, received = self.seen
        self.seen = len(self.record), len(self.received)
        return {
            "exchanges": [summary(exchange) for exchange in self.record[exchanges : self.seen[0]]],
            "provider": self.seen[1] - received,
        }


class DeskHandler(BaseHTTPRequestHandler):
    """One question."""

    def log_message(self, *_):
        """Says nothing."""

    def do_GET(self):
        """The news."""
        body = json.dumps(self.server.news()).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def summary(exchange):
    """What a check asks about an exchange."""
    request, response = exchange["request"], exchange["response"]
    return {
        "status": int(response["start"].split(" ")[1]),
        "outcome": response["headers"].get("x-semblance-cache"),
        "retry": request["headers"].get("x-stainless-retry-count"),
        "headers": response["headers"],
    }


def gateway(stack, binary, upstream, *flags):
    """Starts a gateway on a free port, with a database of its own; its address."""
    data = stack.enter_context(tempfile.TemporaryDirectory())
    command = [
        binary,
        "serve",
        "--json",
        "--upstream",
        upstream,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--data-dir",
        f"{data}/data",
        "--log-level",
        "error",
        *flags,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True)
    stack.callback(lambda: (process.terminate(), process.wait()))
    return json.loads(process.stdout.readline())["listen"]


def save(path, record, received):
    """Writes the record for `verify.py`."""

    def plain(value):
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        raise TypeError(type(value))

    path.write_text(json.dumps({"exchanges": record, "received": received}, default=plain))


def main():
    """Everything."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binary, report = str(Path(sys.argv[1]).resolve(strict=True)), Report(sys.argv[2:])
    cache = Path(os.environ.get("SEMBLANCE_CLIENTS_CACHE") or CLIENTS.parent.parent / "target" / "clients").resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor())
        python = pool.submit(python_packages, CLIENTS / "python", cache)
        node = pool.submit(node_packages, CLIENTS / "node", cache)
        provider, record = Provider(), []
        upstream = f"http://{provider.address}"
        tools = Tap(gateway(stack, binary, upstream, "--store-tool-calls", "true"), record)
        plain = Tap(gateway(stack, binary, upstream), record)
        demo = gateway(stack, binary, "demo")
        addresses = [tools.address, plain.address, Desk(record, provider.received).address]
        for name, packages, pattern in (("Python", python, "python/*_sdk.py"), ("Node", node, "node/*_sdk.mjs")):
            try:
                runtime = packages.result()
            except Skipped as why:
                report.skip(f"the {name} clients", why)
                continue
            for script in filter(report.wants, sorted(CLIENTS.glob(pattern))):
                report.run(script.stem, [*runtime(script), *addresses])
        try:
            runtime = python.result()
        except Skipped as why:
            report.skip("the record and its schemas, and the demo upstream", why)
        else:
            saved = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "record.json"
            save(saved, record, provider.received)
            report.run("verify", [*runtime(CLIENTS / "bench" / "verify.py"), str(saved)])
            for script in filter(report.wants, sorted(CLIENTS.glob("demo/*.py"))):
                base = f"http://{demo}/v1" if script.stem.startswith("openai") else f"http://{demo}"
                report.run_demo(script, [*runtime(script), base])
    print(f"{report.passed} checks passed, {report.failed} failed, {report.skipped} skipped")
    sys.exit(1 if report.failed else 0)


main()
