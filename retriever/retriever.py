"""From a text vector to candidates."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from sightline.errors import CorruptionError, IndexUnavailableError, InputError, NotFoundError
from sightline.retriever.filtered_keys import FilterCache, FilteredKeys
from sightline.retriever.max_sim import NO_HITS, ImageHits, score_all, search
from sightline.retriever.opened import OpenedSnapshot, SnapshotOpener
from sightline.retriever.positions import in_sorted
from sightline.retriever.records import Candidate, Retrieved
from sightline.retriever.tails import TAIL_BYTES, Losses, Tails
from sightline.store.durable import FileMissingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.store.conditions import Filter
    from sightline.store.filtered import Filtered
    from sightline.store.index import Indexes
    from sightline.store.records import Snapshot
    from sightline.store.segments import SegmentReader
    from sightline.types import Vector

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
    ) -> Retrieved:
        """The best ``candidates`` live images that pass ``filter`` for a unit text vector fp32 ``[D]``.

        ``besides``: keys that are scored, too, as far as they are live and pass.
        What is lost or damaged is left out of the answer, which says so. `NotFoundError` without such a
        collection, `InputError` for a vector of another model or fewer than one candidate,
        `UnavailableError` when a GPU is asked for and cannot be had.
        """
        if candidates < 1:
            raise InputError(f"At least one candidate must be asked for, not {candidates}.")
        for left in reversed(range(_TRIES)):
            opened, fitting, hits, others, lost = self._consistent(
                collection, text_vector, candidates, filter, besides
            )
            # The filter is read after the snapshot: an image replaced in between would be in neither.
            if fitting is None or not left or fitting.version == opened.version:
                break
        self._degraded[collection] = opened.version, lost.sentences()
        return _retrieved(hits, others, opened, lost.sentences())

    def degraded(self, snapshot: Snapshot) -> tuple[str, ...]:
        """What answers have to do without: as the latest found, else by the names of files. Opens nothing."""
        version, said = self._degraded.get(snapshot.collection.name, (-1, ()))
        known = said if version == snapshot.collection.version else ()
        return known or self._opener.missing(snapshot)

    def _consistent(
        self, collection: str, vector: Vector, candidates: int, filter: Filter | None, besides: Sequence[int]
    ) -> tuple[OpenedSnapshot, FilteredKeys | None, ImageHits, ImageHits, Losses]:
        """One search over one snapshot, whose segments the builder may merge and remove meanwhile.

        It starts again as long as other files are missing each time: then it is the builder that goes on.
        """
        missing, misses = "", 0
        while True:
            tolerant, lost = misses == _MISSES, Losses()
            try:
                opened = self._open(collection, tolerant)
                fitting = None if filter is None else self._fitting(opened, filter)
                hits, others = self._search(opened, vector, candidates, fitting, besides, lost, tolerant)
                return opened, fitting, hits, others, opened.losses() | lost
            except FileMissingError as error:
                missing, misses = str(error), misses + 1 if str(error) == missing else 1
                self._forget(collection)  # the catalog knows better by now
            except _BrokenIndex as broken:
                self._opener.give_up(broken.opened, broken.error)
                self._forget(collection)  # the next one scans every segment

    def _search(
        self,
        opened: OpenedSnapshot,
        vector: Vector,
        candidates: int,
        fitting: FilteredKeys | None,
        besides: Sequence[int],
        lost: Losses,
        tolerant: bool,
    ) -> tuple[ImageHits, ImageHits]:
        checked = _checked(vector, opened.joint_dim)
        wanted = None if fitting is None else fitting.keys
        tails = self._tails.parts(opened.segments, wanted, lost, tolerant=tolerant)
        with _searching(opened):
            hits = search(opened.generation_part(fitting), tails, checked, candidates)
        also = np.setdiff1d(np.array(besides, np.int64), hits.keys)
        also = also if wanted is None else also[in_sorted(also, wanted)]
        if not len(also):
            return hits, NO_HITS
        parts = self._tails.parts(opened.segments, also, lost, tolerant=tolerant)
        with _searching(opened):
            return hits, score_all(opened.generation_part_of(also), parts, checked)

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


class _BrokenIndex(Exception):
    """The generation of an opened snapshot failed while it was searched."""

    def __init__(self, opened: OpenedSnapshot, error: Exception) -> None:
        super().__init__(str(error))
        self.opened = opened
        self.error = error


@contextmanager
def _searching(opened: OpenedSnapshot) -> Iterator[None]:
    """What fails in here is the generation: scans of segments say themselves what they lack."""
    try:
        yield
    except (OSError, CorruptionError, IndexUnavailableError) as error:
        if opened.generation is None:
            raise
        raise _BrokenIndex(opened, error) from error


def _checked(vector: NDArray[np.float32], dim: int) -> Vector:
    checked = np.asarray(vector, np.float32)
    if checked.shape != (dim,):
        raise InputError(f"The text vector must be [{dim}], not {list(checked.shape)} of another model.")
    # The bounds that make retrieval exact assume length 1; NaN fails this comparison too.
    if not abs(float(np.linalg.norm(checked)) - 1) < 1e-2:
        raise InputError("The text vector must have length 1.")
    return checked


def _retrieved(
    hits: ImageHits, others: ImageHits, opened: OpenedSnapshot, degraded: tuple[str, ...]
) -> Retrieved:
    number = 0 if opened.generation is None else opened.generation.number
    return Retrieved(_candidates(hits), number, hits.searched, degraded, _candidates(others), opened.recall())


def _candidates(hits: ImageHits) -> list[Candidate]:
    pairs = zip(hits.keys.tolist(), hits.scores.tolist(), strict=True)
    return [Candidate(key, itc, rank) for rank, (key, itc) in enumerate(pairs, start=1)]
