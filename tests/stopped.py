"""Servers that hang: a PostgreSQL of our own that is stopped and goes on, an address that never answers."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class OwnPostgres:
    """A private server; ``stopped`` hangs it as a machine that swaps or a debugger does."""

    url: str
    folder: Path

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP to the server and all its backends as long as the block lasts."""
        server = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        server.send_signal(signal.SIGSTOP)  # first, so that nobody is born meanwhile
        halted = [server, *server.children(recursive=True)]
        for process in halted[1:]:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in reversed(halted):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port where connections are accepted by the kernel, and nobody ever says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        yield int(listener.getsockname()[1])
