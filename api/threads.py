"""Threads for requests that may wait for the model, apart from those that serve pictures and health.

The framework's own pool has 40 threads for everything: forty waiting searches would hold up every thumbnail
and ``/readyz``. Here there are as many as may wait, and a few that find the queue full and say so at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

Result = TypeVar("Result")

SPARE = 8


class ModelThreads:
    """Runs the work of routes; ``waiting`` is how many requests may wait for the model."""

    def __init__(self, waiting: int) -> None:
        self._limiter = CapacityLimiter(waiting + SPARE)

    async def run(self, work: Callable[[], Result]) -> Result:
        """``work()`` in a thread, with this request's context (its id in log lines)."""
        return await to_thread.run_sync(work, limiter=self._limiter)
