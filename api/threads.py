"""Threads for requests that may wait for the model, apart from those that serve pictures and health.

The framework's own pool has 40 threads for everything: forty waiting searches would hold up every thumbnail
and ``/readyz``. Here there are as many as may wait, and a few that find the queue full and say so at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.types import Receive

from sightline.serving.scheduler import client_gone

Result = TypeVar("Result")

SPARE = 8


class ModelThreads:
    """Runs the work of routes; ``waiting`` is how many requests may wait for the model."""

    def __init__(self, waiting: int) -> None:
        self._limiter = CapacityLimiter(waiting + SPARE)

    async def run(self, receive: Receive, work: Callable[[], Result]) -> Result:
        """``work()`` in a thread, with this request's context: its id in log lines, its client's presence.

        The body must have been read: what ``receive`` brings from now on is that the client has hung up.
        """
        gone = Event()
        client_gone.set(gone)  # every request is a task with a context of its own
        watcher = asyncio.create_task(_watch(receive, gone))
        try:
            return await to_thread.run_sync(work, limiter=self._limiter)
        finally:
            watcher.cancel()


async def _watch(receive: Receive, gone: Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()
