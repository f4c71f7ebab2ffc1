"""What was counted a moment ago, for the next page of the same count. In memory only."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sightline.searching.counting import Counted

MOST_HITS: Final = 200_000
"""Of all counts that are remembered together: about 40 MB."""
EACH: Final = 20
"""So many hits a count takes beside its own."""
SECONDS: Final = 600.0
"""How long one is remembered."""


class Asked(NamedTuple):
    """What was counted: of which collection, at which of its versions, by which version of its calibration,
    a hash of the query, and the key of the stored picture in it, whose name may come to mean another one."""

    collection_id: int
    version: int
    fingerprint: str
    calibration: int
    query: str
    picture: int | None


class CountMemory:
    """The counts of a process that were asked for last. Thread-safe."""

    def __init__(
        self,
        most_hits: int = MOST_HITS,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most_hits
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[Asked, tuple[float, Counted]] = OrderedDict()
        self._hits = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    def get(self, asked: Asked) -> Counted | None:
        """What was found then; None: it is not remembered."""
        with self._lock:
            known = self._kept.get(asked)
            if known is None:
                return None
            if self._clock() - known[0] > self._seconds:
                self._drop(asked)
                return None
            self._kept.move_to_end(asked)
            return known[1]

    def put(self, asked: Asked, counted: Counted) -> None:
        """Remember it in place of what was known; those that were not asked for longest are forgotten."""
        with self._lock:
            self._drop(asked)
            now = self._clock()
            for old in [one for one, known in self._kept.items() if now - known[0] > self._seconds]:
                self._drop(old)
            self._kept[asked] = now, counted
            self._hits += _size(counted)
            while self._hits > self._most:
                self._drop(next(iter(self._kept)))

    def _drop(self, asked: Asked) -> None:
        known = self._kept.pop(asked, None)
        if known is not None:
            self._hits -= _size(known[1])


def _size(counted: Counted) -> int:
    return EACH + len(counted.hits)
