"""Servers that hang: a PostgreSQL of our own that is stopped and goes on, an address that never answers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.services import _postgres_binaries


@dataclass(frozen=True)
class OwnPostgres:
    """A private server; ``stopped`` hangs it as a machine that swaps or a debugger does."""

    url: str
    folder: Path

    def _processes(self) -> list[psutil.Process]:
        server = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        return [server, *server.children(recursive=True)]

    def restart(self) -> None:
        """SIGKILL to all of it, and a new start in the same place."""
        gone = self._processes()
        for process in gone:
            process.kill()
        psutil.wait_procs(gone, timeout=20)
        binaries = _postgres_binaries()
        assert binaries is not None
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        port = self.url.rpartition(":")[2].partition("/")[0]
        options = f"-p {port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        control = [*as_user, str(binaries / "pg_ctl"), "-D", str(self.folder / "data"), "-w"]
        start = [*control, "-l", str(self.folder / "log"), "-o", options, "start"]
        subprocess.run(start, check=True, capture_output=True, timeout=60, cwd="/")

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP to the server and all its backends as long as the block lasts."""
        self._processes()[0].send_signal(signal.SIGSTOP)  # first, so that nobody is born meanwhile
        halted = self._processes()
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
