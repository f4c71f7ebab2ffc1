"""What may still be spent: bytes and seconds, shared by all that is fetched for one purpose. Thread-safe."""

from __future__ import annotations

import threading
import time


class SpentError(Exception):
    """More bytes came than may come."""


class Budget:
    """Counts down. Raises TimeoutError when the time is up, SpentError when the bytes are."""

    def __init__(self, most_bytes: int, seconds: float) -> None:
        self.most_bytes = most_bytes
        self._left = most_bytes
        self._until = time.monotonic() + seconds
        self._lock = threading.Lock()

    def seconds(self, most: float) -> float:
        """How long the next step may wait, at most ``most``; always more than 0."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("The time for fetching is up.")
        return min(left, most)

    def end(self) -> None:
        """Nobody needs the rest: whoever still spends is refused at the next step."""
        self._until = time.monotonic()

    def take(self, size: int) -> None:
        """Note bytes that came."""
        with self._lock:
            self._left -= size
            if self._left < 0:
                raise SpentError
