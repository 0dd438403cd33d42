"""Installs the pinned clients into a directory kept between runs, named after the files that pin them."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# How pip and npm say that they cannot reach their registry; every other failure is one.
UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|Temporary failure in name resolution|"
    r"Network is unreachable|Connection refused|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH"
)


class Skipped(Exception):
    """Why something cannot be installed here, though nothing is wrong with it."""


def python_packages(source, cache):
    """The Python clients; how to run a script with them."""
    if subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True).returncode:
        raise Skipped("this python3 has no venv")

    def fill(place):
        run([sys.executable, "-m", "venv", place])
        run(
            [
                f"{place}/bin/python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--retries",
                "2",
                "--timeout",
                "20",
                "-r",
                source / "requirements.txt",
                "-c",
                source / "constraints.txt",
            ]
        )

    pins = [source / "requirements.txt", source / "constraints.txt"]
    place = installed(cache, f"python{sys.version_info.major}.{sys.version_info.minor}", pins, fill)
    return lambda script: [f"{place}/bin/python", str(script)]


def node_packages(source, cache):
    """The Node clients; how to run a script with them."""
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise Skipped(f"there is no {tool} here")
    pins = [source / "package.json", source / "package-lock.json"]

    def fill(place):
        for pin in pins:
            shutil.copy(pin, place)
        run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"],
            cwd=place,
        )

    place = installed(cache, "node", pins, fill)

    def command(script):
        # Modules are looked for beside the script.
        for module in source.glob("*.mjs"):
            shutil.copy(module, place)
        return ["node", str(place / script.name)]

    return command


def installed(cache, name, pins, fill):
    """The directory for these pins; filled elsewhere and moved there when whole, so that a run cut off leaves nothing."""
    digest = hashlib.sha256(b"\0".join(pin.read_bytes() for pin in pins)).hexdigest()[:12]
    place = cache / f"{name}-{digest}"
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=cache) as fresh:
            filled = Path(fresh) / "packages"
            filled.mkdir()
            fill(filled)
            if not place.exists():
                os.rename(filled, place)
    return place


def run(command, cwd=None):
    """Runs an installer."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        if UNREACHABLE.search(done.stdout):
            raise Skipped("the package registry cannot be reached")
        raise RuntimeError(f"{command[0]} failed with {done.returncode}:\n{done.stdout}")
