"""One build that takes long, beside the builder's passes: they go on for everything else meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from threading import Thread


class LongBuild:
    """At most one at a time, in a thread of its own. Not thread-safe itself.

    The thread is a daemon, as FAISS cannot be told to stop: a process that ends leaves a build as a kill
    would, and the next builder begins it again.
    """

    def __init__(self) -> None:
        self._running: tuple[str, Future[bool]] | None = None

    @property
    def of(self) -> str | None:
        """The collection that is built for; None when there is none, or the last one was told."""
        return None if self._running is None else self._running[0]

    def begin(self, collection: str, build: Callable[[], bool]) -> None:
        """Nothing when another one runs: that collection's turn comes."""
        if self._running is None:
            future: Future[bool] = Future()
            self._running = collection, future
            Thread(target=_do, args=(build, future), name="long-build", daemon=True).start()

    def outcome(self) -> bool | None:
        """None while it runs; then, once, what it answered, or what it raised."""
        if self._running is None or not self._running[1].done():
            return None
        future, self._running = self._running[1], None
        return future.result()

    def end(self, seconds: float) -> bool:
        """Wait so long at most; whether none runs any more. Whatever it published is published."""
        return self._running is None or bool(wait_for([self._running[1]], seconds).done)


def _do(build: Callable[[], bool], future: Future[bool]) -> None:
    try:
        future.set_result(build())
    except BaseException as error:  # it is the asker's
        future.set_exception(error)
