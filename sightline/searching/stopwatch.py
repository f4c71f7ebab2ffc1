"""How long the steps of a search take."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sightline.records import Timings


@dataclass
class Stopwatch:
    """Milliseconds of each step, by name."""

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was measured and count from now."""
        self._began = self._last = time.perf_counter()
        self._laps = {"encode": 0.0, "retrieve": 0.0, "rerank": 0.0}

    def lap(self, name: str) -> None:
        """The time since the last lap belongs to this step, too."""
        now = time.perf_counter()
        self._laps[name] += (now - self._last) * 1000
        self._last = now

    def elapsed_ms(self) -> float:
        """Since the start."""
        return (time.perf_counter() - self._began) * 1000

    def timings(self) -> Timings:
        """What was measured; the total reaches until now."""
        return Timings(self._laps["encode"], self._laps["retrieve"], self._laps["rerank"], self.elapsed_ms())
