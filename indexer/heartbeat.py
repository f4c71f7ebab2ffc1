"""Keeps a lease alive while the work goes on, and tells the work when it is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from sightline.errors import LeaseLostError

log = logging.getLogger(__name__)


class Heartbeat:
    """A thread that calls ``renew`` every ``interval`` seconds until the block or the lease ends.

    A renewal that raises (the database restarts) is tried again for as long as the lease lasts: after
    ``lease`` seconds without a renewal it counts as lost.
    """

    def __init__(self, renew: Callable[[], bool], *, lease: float, interval: float, what: str) -> None:
        self._renew = renew
        self._lease = lease
        self._interval = interval
        self._what = what
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat {what}", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=self._lease)

    def check(self) -> None:
        """Raise LeaseLostError when the work is somebody else's by now."""
        if self._lost.is_set():
            raise LeaseLostError(
                f"{self._what} belongs to another process now; what was computed here is dropped."
            )

    def _beat(self) -> None:
        renewed_at = time.monotonic()
        while not self._ended.wait(self._interval):
            began = time.monotonic()
            kept = self._renewed()
            if kept:
                renewed_at = began
            elif kept is False or time.monotonic() - renewed_at > self._lease:
                self._lost.set()
                return

    def _renewed(self) -> bool | None:
        """True: renewed. False: lost. None: could not be asked."""
        try:
            return self._renew()
        except Exception as error:
            log.warning("a lease could not be renewed", extra={"lease": self._what, "error": str(error)})
            return None
