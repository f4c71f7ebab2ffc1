"""How fast something gets on, over windows of time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Pace:
    """``moved`` bytes since the window began at ``since`` (seconds of any clock)."""

    since: float
    moved: int = 0

    def is_too_slow(self, now: float, seconds: float, rate: float) -> bool:
        """Whether a window of ``seconds`` is over and brought less than ``rate`` bytes per second.

        When it is over the next one begins.
        """
        if now - self.since < seconds:
            return False
        slow = self.moved < rate * seconds
        self.since, self.moved = now, 0
        return slow
