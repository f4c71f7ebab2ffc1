"""Stops a run whose loss says that it will not recover."""

from __future__ import annotations

import math
from collections import deque

from sightline.training.errors import TrainingDivergedError


class DivergenceGuard:
    """Compares the mean loss of the last steps with that of the first ones.

    A restarted run gives the guard its old losses again, so that it judges as if it had never stopped.
    """

    def __init__(self, window: int = 20, factor: float = 2.0, margin: float = 1.0) -> None:
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=window)
        self._window = window
        self._factor = factor
        self._margin = margin

    def check(self, step: int, loss: float, gradient: float = 0.0) -> None:
        """Take one step's loss and gradient norm.

        Raises:
            TrainingDivergedError: no finite number, or far above the beginning.
        """
        if not (math.isfinite(loss) and math.isfinite(gradient)):
            raise TrainingDivergedError(f"The loss became {loss} (gradient norm {gradient}) at step {step}.")
        if len(self._first) < self._window:
            self._first.append(loss)
        self._last.append(loss)
        start, now = sum(self._first) / len(self._first), sum(self._last) / len(self._last)
        if len(self._last) == self._window and now > self._factor * start + self._margin:
            raise TrainingDivergedError(
                f"The loss rose to {now:.2f} by step {step}; the first {self._window} steps had {start:.2f}."
            )
