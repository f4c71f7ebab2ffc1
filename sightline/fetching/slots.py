"""How many connections there are at once, in all and to one host."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sightline.fetching.budget import Budget

LOOK_SECONDS = 1.0
"""How often one who waits looks whether its time is up."""


class Slots:
    """Lets ``most`` in, and ``per_host`` to one host; others wait as long as they may. Thread-safe."""

    def __init__(self, most: int, per_host: int) -> None:
        self._most = max(1, most)
        self._per_host = max(1, per_host)
        self._open: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def of(self, host: str, budget: Budget) -> Iterator[None]:
        """A connection to ``host``. Raises TimeoutError when none was free in time."""
        with self._changed:
            while self._open.total() >= self._most or self._open[host] >= self._per_host:
                self._changed.wait(budget.seconds(LOOK_SECONDS))
            self._open[host] += 1
        try:
            yield
        finally:
            with self._changed:
                self._open[host] -= 1
                if not self._open[host]:
                    del self._open[host]
                self._changed.notify_all()
