"""Memory and open files of an installation's processes, over time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import psutil

from tests.crash.installation import Installation


@dataclass(frozen=True)
class Sample:
    """Of one process with its children, at one time (seconds since the watch began)."""

    at: float
    role: str
    resident: int
    """Bytes that are its own."""
    files: int


class Watch:
    """Looks every ``seconds`` until it is told to stop."""

    def __init__(self, installation: Installation, seconds: float) -> None:
        self.samples: list[Sample] = []
        self._installation, self._seconds = installation, seconds
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(timeout=10)

    def look(self) -> None:
        for role in self._installation.roles:
            assert role.process is not None
            try:
                one = psutil.Process(role.process.pid)
                family = [one, *one.children(recursive=True)]
                resident = sum(each.memory_full_info().uss for each in family)
                files = sum(each.num_fds() for each in family)
            except psutil.Error:  # it is being started again: the run says so
                continue
            self.samples.append(Sample(time.monotonic() - self._began, role.name, resident, files))

    def halves(self, role: str, figure: str) -> tuple[int, int]:
        """The highest in the middle third and in the last third: the first is for getting warm."""
        mine = [(one.at, getattr(one, figure)) for one in self.samples if one.role == role]
        end = max(at for at, _ in mine)
        middle = [value for at, value in mine if end / 3 <= at < end * 2 / 3]
        last = [value for at, value in mine if at >= end * 2 / 3]
        return max(middle, default=0), max(last, default=0)

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self.look()
