"""Keeps a lease alive while the work goes on, and tells the work when it is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import TracebackType

from sightline.errors import LeaseLostError

log = logging.getLogger(__name__)


class Pulse:
    """When some work last got on, by a clock that nobody sets. Thread-safe.

    ``of``: the pulse of what this is a part of; it beats along.
    """

    def __init__(self, of: Pulse | None = None) -> None:
        self._of = of
        self._beaten = time.monotonic()
        self._patient = 0
        self._lock = threading.Lock()

    def beat(self) -> None:
        """It gets on."""
        self._beaten = time.monotonic()
        if self._of is not None:
            self._of.beat()

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Inside, silence means nothing: a model may take long to be fetched, and has limits of its own."""
        self._be_patient(1)
        try:
            with nullcontext() if self._of is None else self._of.patience():
                yield
        finally:
            self.beat()
            self._be_patient(-1)

    @property
    def silent_seconds(self) -> float:
        """How long nothing was heard of it."""
        return 0.0 if self._patient else time.monotonic() - self._beaten

    def _be_patient(self, more: int) -> None:
        with self._lock:
            self._patient += more


class Heartbeat:
    """A thread that calls ``renew`` every ``interval`` seconds until the block or the lease ends.

    A renewal that raises (the database restarts) is tried again for as long as the lease lasts: after
    ``lease`` seconds without a renewal it counts as lost. So it does when the work has not called ``check``
    for ``stall`` seconds: it hangs, and another shall have it. ``pulse`` is told of every check.
    """

    def __init__(
        self,
        renew: Callable[[], bool],
        *,
        lease: float,
        interval: float,
        what: str,
        stall: float | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self._renew = renew
        self._lease = lease
        self._interval = interval
        self._what = what
        self._stall = float("inf") if stall is None else stall
        self.pulse = Pulse(of=pulse)
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat {what}", daemon=True)

    def __enter__(self) -> Heartbeat:
        self.pulse.beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=self._lease)

    def check(self) -> None:
        """Say that the work gets on. Raise LeaseLostError when it is somebody else's by now."""
        self.pulse.beat()
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
        if self.pulse.silent_seconds > self._stall:
            log.error("no progress for %g seconds: %s is given up", self._stall, self._what)
            return False
        try:
            return self._renew()
        except Exception as error:
            log.warning("a lease could not be renewed", extra={"lease": self._what, "error": str(error)})
            return None
