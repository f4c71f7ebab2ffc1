"""One build that takes long, beside the builder's passes: they go on for everything else meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class LongBuild:
    """At most one at a time, in a thread of its own. Not thread-safe itself."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, "long-build")
        self._running: tuple[str, Future[bool]] | None = None

    @property
    def of(self) -> str | None:
        """The collection that is built for; None when there is none, or the last one was told."""
        return None if self._running is None else self._running[0]

    def begin(self, collection: str, build: Callable[[], bool]) -> None:
        """Nothing when another one runs: that collection's turn comes."""
        if self._running is None:
            self._running = collection, self._threads.submit(build)

    def outcome(self) -> bool | None:
        """None while it runs; then, once, what it answered, or what it raised."""
        if self._running is None or not self._running[1].done():
            return None
        future, self._running = self._running[1], None
        return future.result()

    def end(self) -> None:
        """Wait for it. Whatever it published is published."""
        self._threads.shutdown(wait=True)
