"""The application behind a real socket, in a thread of this process: for tests, notebooks and screenshots."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from sightline.api.listening import BoundedServer, ServerConfig

GRACE_SECONDS = 5


@contextmanager
def running(app: FastAPI, root_path: str = "") -> Iterator[str]:
    """Serve on a free port of this machine until the block ends; gives the URL."""
    # Named, so that asyncio turns Nagle's algorithm off: see sightline.processes.serve.listen.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    server = BoundedServer(ServerConfig(app, root_path, GRACE_SECONDS))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}{root_path}"
    finally:
        server.should_exit = True
        thread.join(GRACE_SECONDS + 5)
