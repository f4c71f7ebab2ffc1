"""A server process of its own, and keep-alive clients that talk to it with the standard library alone."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from sightline.processes.serve import listen
from sightline.settings import Settings, environment

START_SECONDS = 180.0


@dataclass(frozen=True)
class Server:
    """``ready_seconds``: from the start of the process, whose id is ``pid``, to the first 200 of /readyz."""

    port: int
    ready_seconds: float
    pid: int


@contextmanager
def running_server(settings: Settings, log: IO[bytes]) -> Iterator[Server]:
    """``sightline serve`` until the block ends."""
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "sightline", "serve", "--port", str(port)]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | environment(settings), stderr=log)
    try:
        _wait(process, port)
        yield Server(port, time.perf_counter() - began, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"The server ended with {process.returncode} before it was ready.")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.02)
    raise RuntimeError(f"The server was not ready after {START_SECONDS:.0f} s.")


@dataclass(frozen=True)
class Answered:
    """One answer, and how long the client waited for all of it."""

    seconds: float
    body: dict[str, Any]


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int, collection: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        self._path = f"/v1/collections/{collection}/search"

    def search(self, text: str, candidates: int, limit: int = 10) -> Answered:
        """One search; an answer other than 200 is an error."""
        body = json.dumps({"text": text, "candidates": candidates, "limit": limit})
        began = time.perf_counter()
        self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        seconds = time.perf_counter() - began
        if answer.status != 200:
            raise RuntimeError(f"The search was answered with {answer.status}: {content[:300]!r}")
        return Answered(seconds, json.loads(content))

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
