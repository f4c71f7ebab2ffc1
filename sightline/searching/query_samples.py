"""A sample of what was asked of each collection, as vectors, where that may be kept: never the words.

An approximate index that learns from what is asked finds more of it. A server notes each search in memory and
writes in a thread of its own; of several servers the last one that writes stays, which costs some vectors.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sightline.errors import SightlineError
from sightline.store.sample_texts import QUERIES, SampleTexts, text_set

if TYPE_CHECKING:
    from sightline.store.records import Collection
    from sightline.store.sample_text_files import SampleTextFiles
    from sightline.types import Vector

log = logging.getLogger(__name__)

MOST: Final = 2_000
"""Vectors of one collection and model that are kept: 2 MB at D = 256."""
REMEMBERED: Final = 10 * MOST
"""Of so many searches the sample is one: older ones give way in the end."""
WRITE_SECONDS: Final = 60.0
"""How often a collection's sample is written, at most …"""
WRITE_AT: Final = 500
"""… unless so many vectors wait."""
WAITING: Final = 256
"""Searches that may wait to be noted; what comes meanwhile is not."""


class _Place(NamedTuple):
    fingerprint: str
    collection_id: int


@dataclass
class _Waiting:
    """Vectors ``[D]`` of one collection, begun under a token at a time."""

    token: str
    since: float
    vectors: list[Vector] = field(default_factory=list)


class QuerySamples:
    """Of one process. Thread-safe. Keeps nothing (``keeps``) until it is started."""

    def __init__(
        self, files: SampleTextFiles, clock: Callable[[], float] = time.monotonic, *, keeps: bool = False
    ) -> None:
        self._files = files
        self._clock = clock
        self._asked: queue.Queue[tuple[_Place, Vector]] = queue.Queue(WAITING)
        self._waiting: dict[_Place, _Waiting] = {}
        self._keeps = keeps

    def start(self) -> None:
        """Keep what is asked of this process from now on; called by the server only, where that is set."""
        self._keeps = True
        threading.Thread(target=self._run, daemon=True, name="query samples").start()

    def note(self, collection: Collection, vector: Vector) -> None:
        """A search was asked with a unit vector ``[D]``; costs next to nothing."""
        if self._keeps:
            with suppress(queue.Full):
                self._asked.put_nowait((_Place(collection.fingerprint, collection.id), vector.copy()))

    def tend(self, seconds: float) -> None:
        """Take what was noted, waiting so long for the first, and write what is due."""
        with suppress(queue.Empty):
            self._take(*self._asked.get(timeout=seconds))
            while True:
                self._take(*self._asked.get_nowait())
        for place, some in list(self._waiting.items()):
            if len(some.vectors) >= WRITE_AT or self._clock() - some.since >= WRITE_SECONDS:
                del self._waiting[place]
                self._write(place, some)

    def _take(self, place: _Place, vector: Vector) -> None:
        if place not in self._waiting:
            token = self._files.token(place.collection_id)
            if token is None:
                return
            self._waiting[place] = _Waiting(token, self._clock())
        self._waiting[place].vectors.append(vector)

    def _write(self, place: _Place, some: _Waiting) -> None:
        try:
            known = self._files.queries(*place)
            self._files.write_queries(*place, some.token, sampled(known, some.vectors))
        except (SightlineError, OSError) as error:
            log.warning("What was asked cannot be kept now: %s", error)

    def _run(self) -> None:
        while True:
            try:
                self.tend(WRITE_SECONDS / 10)
            except Exception:  # whatever it is: searches go on, and so does this
                log.exception("what was asked could not be kept")


def sampled(known: SampleTexts | None, vectors: Sequence[Vector]) -> SampleTexts:
    """The sample with these vectors taken in, each as likely as those before (reservoir sampling: Vitter,
    Random Sampling with a Reservoir, 1985, algorithm R), until `REMEMBERED`; later ones more likely.
    """
    chance = np.random.default_rng()
    kept: list[Vector] = [] if known is None else list(known.vectors)
    seen = 0 if known is None else known.images
    for vector in vectors:
        seen = min(seen + 1, REMEMBERED)
        if len(kept) < MOST:
            kept.append(vector)
        elif (place := int(chance.integers(seen))) < MOST:
            kept[place] = vector
    return text_set(np.stack(kept).astype(np.float32), np.full(len(kept), QUERIES, np.int8), seen, 0.0)
