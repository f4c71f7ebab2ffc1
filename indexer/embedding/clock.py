"""Where a worker's time goes: whether the model works, or waits for pictures to be read and decoded."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

log = logging.getLogger(__name__)

_WINDOW_SECONDS: Final = 60.0
"""Of work and waiting together, between two sentences."""
_TOO_LONG: Final = 0.3
"""Share of the time that the model may wait before it is told."""


class EmbedClock:
    """Adds up seconds over the life of a worker. Used by one thread."""

    def __init__(self) -> None:
        self.waited = self.busy = 0.0
        """Seconds so far in which the model waited for pictures, and in which it worked."""
        self._told_waited = self._told_busy = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, the model waits for pictures."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - began

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, the model works."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.busy += time.perf_counter() - began

    def tell(self, decoders: int) -> None:
        """Log `sentence`, once in a while."""
        waited, busy = self.waited - self._told_waited, self.busy - self._told_busy
        if waited + busy < _WINDOW_SECONDS:
            return
        self._told_waited, self._told_busy = self.waited, self.busy
        said = sentence(waited, busy, decoders)
        if said is not None:
            log.warning("%s", said)


def sentence(waited: float, busy: float, decoders: int) -> str | None:
    """What to do when the model waits for pictures; None where it seldom does. Seconds."""
    if waited <= _TOO_LONG * (waited + busy):
        return None
    share = waited / (waited + busy)
    return (
        f"Reading and decoding is the limit: the model waited {share:.0%} of the time for pictures; give "
        f"SIGHTLINE_DECODING__PROCESSES more than {decoders}, or start more workers."
    )
