"""Questions that may hang, asked so that whoever asks does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from threading import Lock, Thread
from typing import Generic, TypeVar

Found = TypeVar("Found")


class BoundedChecks(Generic[Found]):
    """Runs each check in a thread of its own. One that hangs is waited for again, never begun twice.

    Not in the pool of threads that answer requests: while the database hangs, these may all be taken.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: dict[str, Future[Found]] = {}

    async def found(self, checks: Mapping[str, Callable[[], Found]], seconds: float) -> dict[str, Found]:
        """What each check found, without those that have not answered by then. They raise nothing."""
        running = {name: self._begun(name, check) for name, check in checks.items()}
        waited = [asyncio.wrap_future(future) for future in running.values()]
        await asyncio.wait(waited, timeout=seconds)
        return {name: future.result() for name, future in running.items() if future.done()}

    def _begun(self, name: str, check: Callable[[], Found]) -> Future[Found]:
        with self._lock:
            known = self._running.get(name)
            if known is not None and not known.done():
                return known
            future = self._running[name] = Future[Found]()
        future.set_running_or_notify_cancel()  # from now on nobody who waits can cancel it
        context = copy_context()  # the request's id, and that somebody waits
        arguments = (context.run, future, check)
        Thread(target=_answer, args=arguments, daemon=True, name=f"check {name}").start()
        return future


def _answer(run: Callable[..., Found], future: Future[Found], check: Callable[[], Found]) -> None:
    try:
        future.set_result(run(check))
    except BaseException as error:  # it is the asker's
        future.set_exception(error)
