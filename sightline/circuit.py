"""Not everybody waits for what did not answer somebody a moment ago."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Circuit:
    """Whether to ask something that may hang. Thread-safe.

    After a ``failed`` nobody shall ask for ``rest`` seconds; then one caller may, while the others go on
    without, until one has ``succeeded``. So a server that hangs costs a waiting thread now and then, and not
    one for each request.
    """

    def __init__(self, rest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rest = rest
        self._clock = clock
        self._lock = threading.Lock()
        self._until: float | None = None

    def may_ask(self) -> bool:
        """Whether this caller may ask now. Who may after a rest is the one: the others' rest begins anew."""
        with self._lock:
            if self._until is None:
                return True
            if self._clock() < self._until:
                return False
            self._until = self._clock() + self._rest
            return True

    def failed(self) -> None:
        """It did not answer in time."""
        with self._lock:
            self._until = self._clock() + self._rest

    def succeeded(self) -> None:
        """It answered."""
        with self._lock:
            self._until = None
