"""Processes that begin at once: they come from a server that has imported everything and started no thread.

A fresh interpreter needs seconds before it works, most of them for torch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")


class Forked:
    """``function(*arguments)`` in a process, whose status is what it returns; used as a ``Popen`` is."""

    def __init__(self, log: Path, function: Callable[..., int], *arguments: object) -> None:
        CONTEXT.set_forkserver_preload(["tests.indexer.world"])
        self._process: Any = CONTEXT.Process(target=_logged, args=(str(log), function, arguments))
        self._process.start()
        self.pid = int(self._process.pid)

    def poll(self) -> int | None:
        return self._process.exitcode  # type: ignore[no-any-return]

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _logged(log: str, function: Callable[..., int], arguments: tuple[object, ...]) -> None:
    sys.stdout.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for output in (1, 2):
        os.dup2(descriptor, output)
    sys.exit(function(*arguments))
