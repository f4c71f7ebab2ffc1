"""Opened snapshots: what one version of a collection looks like to a query.

Immutable; a new version gets a new one. It holds the opened generation and, for each segment outside of it,
the keys and which of them are live. The tokens of those segments stay on disk and come through a bounded
cache.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CorruptionError, NotFoundError
from sightline.retriever.max_sim import Part, TailPart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from sightline.store.index import CandidateIndex, Indexes, Tail
    from sightline.store.records import Generation, Segment, Snapshot
    from sightline.store.segments import SegmentReader
    from sightline.types import Keys, Mask


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedGeneration:
    """The serving generation, where its keys are in it, and which of them may be found (None: all)."""

    number: int
    file: str
    index: CandidateIndex
    positions: Positions
    live: Mask | None


@dataclass(frozen=True)
class LiveSegment:
    """A segment outside of the generation: keys ``[N]`` and which of them may be found (None: all)."""

    file: str
    keys: Keys
    live: Mask | None


@dataclass(frozen=True)
class OpenedSnapshot:
    """One version of one collection. Without a generation every segment is scanned."""

    collection_id: int
    version: int
    joint_dim: int
    generation: OpenedGeneration | None
    segments: tuple[LiveSegment, ...]

    def is_at_least(self, collection_id: int, version: int) -> bool:
        """Whether a query that saw this version in the catalog may be answered from here."""
        return self.collection_id == collection_id and self.version >= version

    def generation_part(self, wanted: Keys | None) -> Part | None:
        """What to search in the generation; ``wanted`` are the keys that pass a filter (None: no filter)."""
        if self.generation is None:
            return None
        chosen = None if wanted is None else self.generation.positions.mask(wanted)
        return Part(self.generation.index, both(self.generation.live, chosen))


class Tails:
    """Scans of single segments, the latest of them kept, up to ``max_bytes`` of tokens. Thread-safe."""

    def __init__(self, reader: SegmentReader, indexes: Indexes, max_bytes: int = 1 << 30) -> None:
        self._reader = reader
        self._indexes = indexes
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, tuple[Tail, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def parts(self, opened: OpenedSnapshot, wanted: Keys | None) -> Iterator[TailPart]:
        """What to search outside of the generation; ``wanted`` is sorted (None: no filter).

        `FileMissingError` when the builder has removed a segment.
        """
        for segment in opened.segments:
            chosen = None if wanted is None else in_sorted(segment.keys, wanted)
            allowed = both(segment.live, chosen)
            if allowed is None or allowed.any():
                yield TailPart(self._get(segment.file), allowed)

    def _get(self, file: str) -> Tail:
        with self._lock:
            if file in self._kept:
                self._kept.move_to_end(file)
                return self._kept[file][0]
        keys, tokens = self._reader.tokens(file)
        tail = self._indexes.of().tail(keys, tokens)
        with self._lock:
            if file not in self._kept:
                self._kept[file] = tail, tokens.nbytes
                self._bytes += tokens.nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1][1]
        return tail


class SnapshotOpener:
    """Opens snapshots."""

    def __init__(self, reader: SegmentReader, indexes: Indexes) -> None:
        self._reader = reader
        self._indexes = indexes
        self._broken: set[str] = set()

    def open(self, snapshot: Snapshot, previous: OpenedSnapshot | None) -> OpenedSnapshot:
        """What ``previous`` has opened already is used again.

        A missing, corrupt or unknown generation is reported, and all segments are scanned in its place.
        """
        collection = snapshot.collection
        generation = self._generation(snapshot, previous)
        segments = snapshot.segments if generation is None else snapshot.uncovered
        live = tuple(self._live_segments(segments, snapshot.dead, previous))
        return OpenedSnapshot(collection.id, collection.version, collection.joint_dim, generation, live)

    def _generation(self, snapshot: Snapshot, previous: OpenedSnapshot | None) -> OpenedGeneration | None:
        serving = snapshot.generation
        if serving is None:
            return None
        old = None if previous is None else previous.generation
        if old is not None and old.file == serving.file:
            index, positions = old.index, old.positions
        else:
            opened = self._open(snapshot.collection.name, serving)
            if opened is None:
                return None
            index, positions = opened, Positions(opened.keys)
        live = without(positions.mask(snapshot.dead))
        return OpenedGeneration(serving.number, serving.file, index, positions, live)

    def _open(self, name: str, serving: Generation) -> CandidateIndex | None:
        if serving.file in self._broken:
            return None
        try:
            return self._indexes.of(serving.kind).open(serving.file, serving.sha256)
        except (NotFoundError, CorruptionError) as error:
            self._broken.add(serving.file)
            log.error("The token index of %s must be built again; every segment is scanned: %s", name, error)
            return None

    def _live_segments(
        self, segments: list[Segment], dead: Keys, previous: OpenedSnapshot | None
    ) -> Iterator[LiveSegment]:
        known: Mapping[str, LiveSegment] = {} if previous is None else {s.file: s for s in previous.segments}
        for segment in segments:
            old = known.get(segment.file)
            # Copied, so that no map is held open: there may be more segments than file descriptors.
            keys = old.keys if old is not None else self._reader.tokens(segment.file)[0].copy()
            yield LiveSegment(segment.file, keys, without(in_sorted(keys, dead)))


class Positions:
    """Where keys are among the keys ``[N]`` of an index. Immutable."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._order = np.argsort(keys, kind="stable")

    def of(self, keys: Keys) -> NDArray[np.intp]:
        """The positions of those of ``keys`` that are there."""
        if len(self._keys) == 0 or len(keys) == 0:
            return np.empty(0, np.intp)
        places = np.searchsorted(self._keys, keys, sorter=self._order)
        positions = self._order[np.minimum(places, len(self._keys) - 1)]
        held: NDArray[np.intp] = positions[self._keys[positions] == keys]
        return held

    def mask(self, keys: Keys) -> Mask:
        """``[N]``: whether each image is one of ``keys``."""
        mask = np.zeros(len(self._keys), np.bool_)
        mask[self.of(keys)] = True
        return mask


def in_sorted(keys: Keys, among: Keys) -> Mask:
    """``[N]``: which of ``keys`` are in ``among``, which is sorted. For few keys and many among."""
    if len(among) == 0:
        return np.zeros(len(keys), np.bool_)
    found: Mask = among[np.minimum(np.searchsorted(among, keys), len(among) - 1)] == keys
    return found


def without(hidden: Mask) -> Mask | None:
    """All but the hidden ones."""
    return ~hidden if hidden.any() else None


def both(first: Mask | None, second: Mask | None) -> Mask | None:
    """What both allow."""
    if first is None or second is None:
        return second if first is None else first
    return first & second
