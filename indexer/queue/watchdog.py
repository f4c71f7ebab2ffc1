"""Ends a worker that hangs: a decoder, a driver or a library may never come back, and no thread can be ended.

Its supervisor (``sightline up``, systemd, Compose) starts it again, its lease runs out, and another does the
batch. A worker that is only slow is left alone: each pass of the model, each chunk of pictures is a sign.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from sightline.indexer.heartbeat import Pulse

log = logging.getLogger(__name__)

HUNG = 70
"""The exit status of a process that hung: an internal error (EX_SOFTWARE)."""
LOOKS = 20
"""So many looks in the time that silence may last."""


class Watchdog:
    """A thread that ends this process when ``pulse`` has been silent for ``seconds``."""

    def __init__(self, pulse: Pulse, seconds: float, end: Callable[[int], object] = os._exit) -> None:
        self._pulse = pulse
        self._seconds = seconds
        self._end = end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._pulse.beat()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds / LOOKS):
            silent = self._pulse.silent_seconds
            if silent > self._seconds:
                log.critical(
                    "This worker has not got on for %.0f seconds; it ends, to be started again.", silent
                )
                self._end(HUNG)
                return
