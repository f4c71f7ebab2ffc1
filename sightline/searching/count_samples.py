"""Queries that were judged deep enough to learn from when a count may stop, and the laws learned from them.

They lie with what else is learned on a collection (`sightline.store.cascade_files`): what was begun before a
purge is not kept, a purge takes all of them, and they go with their collection. No key and no text is in
them. All may be lost at any time: until others come, counts stop later.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sightline.errors import CorruptionError, SightlineError
from sightline.reranker.samples import marked
from sightline.searching.count_law import LEAST_QUERIES, Judged, Law, learn
from sightline.store.cascade_files import CascadeFiles, Learned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.store.records import Collection

log = logging.getLogger(__name__)

MOST_QUERIES: Final = 100
"""Kept for one collection and model."""
MOST_PAIRS: Final = 4_096
"""Of one query: 32 kB."""
ENOUGH: Final = 2 * LEAST_QUERIES
ONE_IN: Final = 10
"""Of so many counts one goes on for a while after it could stop, once there are enough samples: who always
stops in time never learns that he stopped too soon."""
_NEW: Final = 10
"""So many new samples, and laws are learned again."""
_LAWS: Final = 64
"""Laws that are in memory: one for each τ of each collection."""
_KIND: Final = "counts"
"""In the place of a codec's name."""
_NAMES: Final = ("itc", "probability")


class CountSamples:
    """The samples of an installation. Thread-safe. Read in every process, written by the server only."""

    def __init__(self, files: CascadeFiles) -> None:
        self._files = files
        self._laws: dict[tuple[Learned, float], tuple[frozenset[str], Law | None]] = {}
        self._counts: dict[Learned, int] = {}
        self._lock = threading.Lock()
        self._learns = False

    def start(self) -> None:
        """Learn from the counts of this process from now on."""
        self._learns = True

    def law(self, of: Learned, least: float) -> Law | None:
        """When counts for a match probability of ``least`` stop here; None where that is not known yet."""
        names = self._files.samples(of)[:MOST_QUERIES]
        if len(names) < LEAST_QUERIES:
            return None
        with self._lock:
            known = self._laws.get((of, least))
        if known is not None and len(known[0].symmetric_difference(names)) < _NEW:
            return known[1]
        found = learn(self._read(of, names), least)
        with self._lock:
            self._laws[of, least] = frozenset(names), found
            while len(self._laws) > _LAWS:
                del self._laws[next(iter(self._laws))]
        return found

    def goes_deeper(self, of: Learned) -> bool:
        """Whether this count is to go on after it could stop, to be learned from."""
        if not self._learns:
            return False
        with self._lock:
            count = self._counts[of] = self._counts.get(of, 0) + 1
        return count % ONE_IN == 0 or len(self._files.samples(of)) < ENOUGH

    def token(self, of: Learned) -> str | None:
        """What a count must be begun under to be learned from; None: it is not learned from."""
        return self._files.token(of.collection_id) if self._learns else None

    def note(self, of: Learned, token: str, query: str, judged: Judged) -> None:
        """Keep what a count saw. ``query`` tells queries apart: of each the last count stays."""
        content = save(
            {
                "itc": judged.itc[:MOST_PAIRS].astype(np.float32),
                "probability": judged.probability[:MOST_PAIRS].astype(np.float32),
            }
        )
        try:
            self._files.add_sample(of, token, marked(f"{token}\0{query}"), content, MOST_QUERIES)
        except (SightlineError, OSError) as error:
            log.warning("What a count could teach is not kept: %s", error)

    def _read(self, of: Learned, names: Sequence[str]) -> list[Judged]:
        found = []
        for name in names:
            try:
                content = self._files.sample(of, name)
                found += [] if content is None else [_judged(content)]
            except (CorruptionError, OSError) as error:
                log.warning("A sample of a count is passed over: %s", error)
        return found


def learned_of(collection: Collection, calibration: int) -> Learned:
    """What counts of a collection learn goes for the version of the calibration that they were made with."""
    return Learned(collection.id, collection.fingerprint, f"{_KIND}-{calibration}" if calibration else _KIND)


def _judged(content: bytes) -> Judged:
    """CorruptionError for what is no such sample."""
    try:
        tensors = load(content)
        itc, probability = (tensors[name].astype(np.float64) for name in _NAMES)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CorruptionError(f"A sample of a count cannot be read: {error}.") from error
    whole = itc.shape == probability.shape == (len(itc),) and bool(np.isfinite([itc, probability]).all())
    if not whole:
        raise CorruptionError("A sample of a count holds something else.")
    return Judged(itc, probability)
