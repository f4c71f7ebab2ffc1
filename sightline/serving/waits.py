"""How long requests waited for the model: counts in the buckets of a histogram."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from sightline.api.services import WAIT_SECONDS, QueueFigures


@dataclass
class Waits:
    """Not thread-safe: its owner holds a lock."""

    refused: int = 0
    text_batches: int = 0
    busy_seconds: float = 0.0
    _counts: list[int] = field(default_factory=lambda: [0] * (len(WAIT_SECONDS) + 1))
    _sum: float = 0.0

    def observe(self, seconds: float) -> None:
        """One request has left, after waiting this long in all."""
        self._counts[bisect_left(WAIT_SECONDS, seconds)] += 1
        self._sum += seconds

    def figures(self, requests: int, turns: int) -> QueueFigures:
        """Everything until now."""
        return QueueFigures(
            requests,
            turns,
            self.refused,
            self.text_batches,
            tuple(self._counts),
            self._sum,
            self.busy_seconds,
        )
