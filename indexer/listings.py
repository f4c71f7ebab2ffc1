"""Listings that a server was asked for: a few at once, some wait, and beyond that nobody's is accepted.

A listing takes hours, a thread and a pool that hashes; a loop that posts jobs must not have one of each for
every post. One that waits has its row in the catalog, so when this process ends another takes it up
(`sightline.indexer.resuming`), as it does one that has waited longer than a lease.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sightline.errors import OverloadedError

AT_ONCE: Final = 4
"""Listings that one server works on at once."""
WAITING: Final = 32
"""Listings that may wait for their turn; more are told to come again."""


class Listings:
    """Runs ``register`` for one job id after the other, in daemon threads. Thread-safe.

    ``register`` raises nothing.
    """

    def __init__(
        self, register: Callable[[str], None], *, at_once: int = AT_ONCE, waiting: int = WAITING
    ) -> None:
        self._register = register
        self._at_once = at_once
        self._most = at_once + waiting
        self._lock = threading.Lock()
        self._waiting: deque[str] = deque()
        self._taken = 0
        self._threads = 0

    @contextmanager
    def place(self) -> Iterator[Callable[[str], None]]:
        """A place for a job that is not made yet; what is given takes its id, once, and returns at once.

        Raises:
            OverloadedError: there is none.
        """
        with self._lock:
            if self._taken >= self._most:
                raise OverloadedError(
                    f"This server lists {self._at_once} sources at once, and {self._most - self._at_once} "
                    "wait already; try again when some of its jobs have registered their pictures."
                )
            self._taken += 1
        begun: list[str] = []
        try:
            yield begun.append
        finally:
            with self._lock:
                if begun:
                    self._enter(begun[0])
                else:
                    self._taken -= 1

    def _enter(self, job_id: str) -> None:
        self._waiting.append(job_id)
        if self._threads < self._at_once:
            self._threads += 1
            # A daemon thread: reading a source takes hours, and must hold neither a request nor a shutdown.
            threading.Thread(target=self._work, name="register", daemon=True).start()

    def _work(self) -> None:
        while (job_id := self._next()) is not None:
            try:
                self._register(job_id)
            finally:
                with self._lock:
                    self._taken -= 1

    def _next(self) -> str | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None
