"""How large the next batch may be so that a deadline is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_PROBE: Final = 4
"""Size of the first batch under a deadline, when nothing is known about the machine yet."""


class Pace:
    """Measures batches and fits the next one into the time that is left. For one call, in one thread."""

    def __init__(self, batch_size: int, deadline_ms: float | None, clock: Callable[[], float]) -> None:
        self._batch_size = batch_size
        self._clock = clock
        self._started = self._batch_started = clock()
        self._ends = None if deadline_ms is None else self._started + deadline_ms / 1000
        self._per_item = 0.0
        self._probing = True

    def slow_down(self) -> None:
        """What comes next takes longer, nobody knows how much; the deadline stays."""
        self._probing = True

    def next_batch(self) -> int:
        """How many to score now; 0 when the time is up. Starts the batch."""
        self._batch_started = self._clock()
        if self._ends is None:
            return self._batch_size
        left = self._ends - self._batch_started
        if left <= 0:
            return 0
        most = min(_PROBE, self._batch_size) if self._probing else self._batch_size
        return int(min(most, left / self._per_item)) if self._per_item > 0 else most

    def done(self, items: int) -> None:
        """The batch that `next_batch` started is finished."""
        # The latest batch speaks for the next one: the first ones are slower (caches, lazy loading).
        self._probing = False
        self._per_item = (self._clock() - self._batch_started) / items
