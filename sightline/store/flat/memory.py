"""How much of the process's memory opened generations may take together."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Memory:
    """Room for ``limit`` bytes. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes; they are taken then."""
        with self._lock:
            fits = 0 < size <= self._left
            self._left -= size if fits else 0
            return fits

    def has_room(self, size: int) -> bool:
        """Whether so many bytes could be taken now."""
        with self._lock:
            return 0 < size <= self._left

    def give_back(self, size: int) -> None:
        """They are free again."""
        with self._lock:
            self._left += size

    def give_back_with(self, array: NDArray[Any], size: int) -> None:
        """They are free again when nobody has the array, or a view of it, any more."""
        weakref.finalize(array if array.base is None else array.base, self.give_back, size)
