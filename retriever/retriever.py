"""From a text vector to candidates."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import numpy as np

from sightline.errors import InputError, NotFoundError
from sightline.retriever.filtered_keys import FilterCache, FilteredKeys
from sightline.retriever.max_sim import NO_HITS, ImageHits, score_all, search
from sightline.retriever.opened import OpenedSnapshot, SnapshotOpener
from sightline.retriever.records import Candidate, Retrieved
from sightline.retriever.seen import Answer, BrokenIndexError, Seen
from sightline.retriever.tails import TAIL_BYTES, Tails
from sightline.store.durable import FileMissingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.retriever.together import Together
    from sightline.store.conditions import Filter
    from sightline.store.filtered import Filtered
    from sightline.store.index import Indexes
    from sightline.store.records import Snapshot
    from sightline.store.segments import SegmentReader
    from sightline.types import Vector

Found = TypeVar("Found")

_TRIES: Final = 4
"""How often a query starts again because its filter was read from a newer version than its snapshot."""
_MISSES: Final = 4
"""So often in a row the same file must be missing to be gone for good: a snapshot that another thread began
to open before the file was replaced may still name it. Then it is answered without it.
"""


class CatalogReader(Protocol):
    """What the retriever asks of the catalog (`sightline.store.catalog.Catalog`)."""

    def version(self, collection: str) -> tuple[int, int]:
        """(collection id, version): one cheap read."""
        ...

    def snapshot(self, collection: str) -> Snapshot: ...
    def filtered(self, collection_id: int, filter: Filter, since: int | None = None) -> Filtered: ...


class Retriever:
    """Max-sim over everything that is live in a collection, in the generation or not yet. Thread-safe.

    Each query reads the collection's version. When it changed, one thread opens a new snapshot while the
    others wait for it, because an answer must never be older than what its query could know.
    """

    def __init__(
        self,
        catalog: CatalogReader,
        segments: SegmentReader,
        indexes: Indexes,
        clock: Callable[[], float] = time.monotonic,
        tail_bytes: int = TAIL_BYTES,
    ) -> None:
        """``tail_bytes``: tokens outside of generations that are kept in memory between queries."""
        self._catalog = catalog
        self._filters = FilterCache(catalog)
        self._opener = SnapshotOpener(segments, indexes, clock)
        self._tails = Tails(segments, indexes, tail_bytes)
        self._opened: dict[str, OpenedSnapshot] = {}
        self._degraded: dict[str, tuple[int, tuple[str, ...]]] = {}
        """By collection: the version that was searched last, and what its answer had to do without."""
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def retrieve(
        self,
        collection: str,
        text_vector: NDArray[np.float32],
        candidates: int,
        filter: Filter | None = None,
        besides: Sequence[int] = (),
        together: Together | None = None,
    ) -> Retrieved:
        """The best ``candidates`` live images that pass ``filter`` for a unit text vector fp32 ``[D]``.

        ``besides``: keys that are scored, too, as far as they are live and pass. ``together``: the vectors of
        a batch, of which this is one.
        What is lost or damaged is left out of the answer, which says so. `NotFoundError` without such a
        collection, `InputError` for a vector of another model or fewer than one candidate,
        `UnavailableError` when a GPU is asked for and cannot be had.
        """
        _check_count(candidates)

        def look(seen: Seen) -> tuple[ImageHits, ImageHits]:
            return _search(seen, text_vector, candidates, besides, together)

        answer = self.answer(collection, filter, look)
        hits, others = answer.value
        recall = answer.opened.recall()
        return Retrieved(
            candidates_of(hits), answer.generation, hits.searched, answer.degraded, candidates_of(others),
            recall, recall is not None,
        )  # fmt: skip

    def answer(self, collection: str, filter: Filter | None, look: Callable[[Seen], Found]) -> Answer[Found]:
        """What ``look`` finds in one consistent state of a collection; it may be called several times.

        What is lost or damaged is left out, and told. `NotFoundError` without such a collection,
        `UnavailableError` when a GPU is asked for and cannot be had.
        """
        for left in reversed(range(_TRIES)):
            seen, found = self._consistent(collection, filter, look)
            # The filter is read after the snapshot: an image replaced in between would be in neither.
            if seen.fitting is None or not left or seen.fitting.version == seen.opened.version:
                break
        degraded = (seen.opened.losses() | seen.lost).sentences()
        self._degraded[collection] = seen.opened.version, degraded
        return Answer(found, seen.opened, degraded)

    def degraded(self, snapshot: Snapshot) -> tuple[str, ...]:
        """What answers have to do without: as the latest found, else by the names of files. Opens nothing."""
        version, said = self._degraded.get(snapshot.collection.name, (-1, ()))
        known = said if version == snapshot.collection.version else ()
        return known or self._opener.missing(snapshot)

    def _consistent(
        self, collection: str, filter: Filter | None, look: Callable[[Seen], Found]
    ) -> tuple[Seen, Found]:
        """One look at one snapshot, whose segments the builder may merge and remove meanwhile.

        It starts again as long as other files are missing each time: then it is the builder that goes on.
        """
        missing, misses = "", 0
        while True:
            tolerant = misses == _MISSES
            try:
                opened = self._open(collection, tolerant)
                fitting = None if filter is None else self._fitting(opened, filter)
                seen = Seen(opened, fitting, self._tails, tolerant)
                return seen, look(seen)
            except FileMissingError as error:
                missing, misses = str(error), misses + 1 if str(error) == missing else 1
                self._forget(collection)  # the catalog knows better by now
            except BrokenIndexError as broken:
                self._opener.give_up(broken.opened, broken.error)
                self._forget(collection)  # the next one scans every segment

    def _fitting(self, opened: OpenedSnapshot, filter: Filter) -> FilteredKeys:
        return self._filters.get(opened.collection_id, filter, opened.version)

    def _open(self, collection: str, tolerant: bool) -> OpenedSnapshot:
        try:
            collection_id, version = self._catalog.version(collection)
        except NotFoundError:
            self._forget(collection)
            self._degraded.pop(collection, None)
            raise
        opened = self._opened.get(collection)
        if opened is not None and self._is_current(collection, opened, collection_id, version):
            return opened
        with self._lock_of(collection):
            opened = self._opened.get(collection)
            if opened is None or not self._is_current(collection, opened, collection_id, version):
                if self._lacks(collection):
                    self._tails.forget_partial()
                snapshot = self._catalog.snapshot(collection)
                opened = self._opener.open(snapshot, opened, tolerant=tolerant)
                self._opened[collection] = opened
            return opened

    def _is_current(self, collection: str, opened: OpenedSnapshot, collection_id: int, version: int) -> bool:
        current = opened.is_at_least(collection_id, version) and opened.is_intact()
        return current and not (self._lacks(collection) and self._opener.is_old(opened))

    def _lacks(self, collection: str) -> bool:
        """Whether the latest answer had to do without something."""
        return bool(self._degraded.get(collection, (0, ()))[1])

    def _lock_of(self, collection: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(collection, threading.Lock())

    def _forget(self, collection: str) -> None:
        self._opened.pop(collection, None)


def _search(
    seen: Seen, vector: Vector, candidates: int, besides: Sequence[int], together: Together | None
) -> tuple[ImageHits, ImageHits]:
    checked = _checked(vector, seen.opened.joint_dim)
    names = None if together is None else together.rows
    with seen.searching():
        hits = search(seen.generation(), seen.tails(), checked, candidates, names=names)
    also = seen.fitting_of(np.setdiff1d(np.array(besides, np.int64), hits.keys))
    if not len(also):
        return hits, NO_HITS
    with seen.searching():
        return hits, score_all(seen.generation_of(also), seen.tails_of(also), checked)


def _check_count(candidates: int) -> None:
    if candidates < 1:
        raise InputError(f"At least one candidate must be asked for, not {candidates}.")


def _checked(vector: NDArray[np.float32], dim: int) -> Vector:
    checked = np.asarray(vector, np.float32)
    if checked.shape != (dim,):
        raise InputError(f"The text vector must be [{dim}], not {list(checked.shape)} of another model.")
    # The bounds that make retrieval exact assume length 1; NaN fails this comparison too.
    if not abs(float(np.linalg.norm(checked)) - 1) < 1e-2:
        raise InputError("The text vector must have length 1.")
    return checked


def candidates_of(hits: ImageHits) -> list[Candidate]:
    """Ranked from 1."""
    pairs = zip(hits.keys.tolist(), hits.scores.tolist(), strict=True)
    return [Candidate(key, itc, rank) for rank, (key, itc) in enumerate(pairs, start=1)]
