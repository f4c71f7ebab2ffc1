"""Figures of the queue in front of the model: how long it is, and how long requests have waited in it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

WAIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets in which waiting times are counted; one more takes what is beyond."""


@dataclass(frozen=True)
class QueueFigures:
    """The queue in front of the model, now and since the process began."""

    requests: int
    """Requests that were let in and have not been answered."""
    turns: int
    """Their batches and texts that wait at this moment."""
    refused: int
    """Requests that found the queue full."""
    text_batches: int
    """Batches in which texts were encoded."""
    waits: tuple[int, ...]
    """Answered requests by how long they waited: one number for each of WAIT_SECONDS, then the rest."""
    waited_seconds: float
    """Seconds that all answered requests waited together."""
    busy_seconds: float
    """Seconds that the model's thread computed."""


@dataclass
class WaitCounter:
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
