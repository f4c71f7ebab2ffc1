"""Views: what one version of a collection looks like to a query. Immutable; a new version gets a new view.

A view holds the opened generation and, for each segment outside of it, the keys and which of them are
live. The tokens of those segments stay on disk and come through a bounded cache.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CorruptionError
from sightline.store.durable import FileMissingError
from sightline.store.generations import open_generation, segment_index
from sightline.store.token_index import Keys, Mask, Part, TokenIndex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sightline.store.records import Generation, Segment, Snapshot
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveSegment:
    """A segment outside of the generation: keys ``[N]`` and which of them may be found (None: all)."""

    file: str
    keys: Keys
    live: Mask | None


@dataclass(frozen=True)
class View:
    """One version of one collection. ``generation`` is 0 and ``index`` None when everything is scanned."""

    collection_id: int
    version: int
    joint_dim: int
    generation: int
    generation_file: str | None
    index: TokenIndex | None
    live: Mask | None
    segments: tuple[LiveSegment, ...]

    def is_at_least(self, collection_id: int, version: int) -> bool:
        """Whether a query that saw this version in the catalog may be answered from here."""
        return self.collection_id == collection_id and self.version >= version


class SegmentIndexes:
    """Indexes over single segments, the latest of them kept, up to ``max_bytes`` of tokens. Thread-safe."""

    def __init__(self, reader: SegmentReader, max_bytes: int = 1 << 30) -> None:
        self._reader = reader
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, TokenIndex] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, file: str) -> TokenIndex:
        """The index of one segment; `FileMissingError` when the builder has removed it."""
        with self._lock:
            if file in self._kept:
                self._kept.move_to_end(file)
                return self._kept[file]
        index = segment_index(*self._reader.tokens(file))
        with self._lock:
            if file not in self._kept:
                self._kept[file] = index
                self._bytes += index.tokens.nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].tokens.nbytes
        return index


class ViewBuilder:
    """Makes views from snapshots, and parts to search from views."""

    def __init__(self, reader: SegmentReader, generations: Path, gpu: bool) -> None:
        self._reader = reader
        self._generations = generations
        self._gpu = gpu
        self._indexes = SegmentIndexes(reader)
        self._broken: set[str] = set()

    def build(self, snapshot: Snapshot, previous: View | None) -> View:
        """A view of ``snapshot``; what ``previous`` has opened already is used again.

        A generation that is missing or corrupt is reported, and all segments are scanned in its place.
        """
        current = snapshot.generation
        index = self._open(snapshot.collection.name, current, previous) if current is not None else None
        if current is None or index is None:
            number, file = 0, None
            segments = snapshot.segments
        else:
            number, file = current.number, current.file
            segments = snapshot.uncovered
        collection, dead = snapshot.collection, snapshot.dead
        live = None if index is None else _without(index.mask_of(dead))
        others = tuple(self._live_segments(segments, dead, previous))
        return View(
            collection.id, collection.version, collection.joint_dim, number, file, index, live, others
        )

    def parts(self, view: View, wanted: Keys | None) -> Iterator[Part]:
        """What to search, the generation first; ``wanted`` is sorted (None: no filter)."""
        if view.index is not None:
            chosen = None if wanted is None else view.index.mask_of(wanted)
            yield Part(view.index, _both(view.live, chosen))
        for segment in view.segments:
            chosen = None if wanted is None else _in_sorted(segment.keys, wanted)
            allowed = _both(segment.live, chosen)
            if allowed is None or allowed.any():
                yield Part(self._indexes.get(segment.file), allowed)

    def _open(self, name: str, current: Generation, previous: View | None) -> TokenIndex | None:
        if previous is not None and previous.generation_file == current.file:
            return previous.index
        if current.file in self._broken:
            return None
        try:
            return open_generation(self._generations, current.file, current.sha256, gpu=self._gpu)
        except (FileMissingError, CorruptionError) as error:
            self._broken.add(current.file)
            log.error("The token index of %s must be built again; every segment is scanned: %s", name, error)
            return None

    def _live_segments(
        self, segments: list[Segment], dead: Keys, previous: View | None
    ) -> Iterator[LiveSegment]:
        known: Mapping[str, LiveSegment] = {} if previous is None else {s.file: s for s in previous.segments}
        for segment in segments:
            old = known.get(segment.file)
            # Copied, so that a view holds no map open: there may be more segments than file descriptors.
            keys = old.keys if old is not None else self._reader.tokens(segment.file)[0].copy()
            yield LiveSegment(segment.file, keys, _without(_in_sorted(keys, dead)))


def _in_sorted(keys: Keys, among: Keys) -> Mask:
    if len(among) == 0:
        return np.zeros(len(keys), np.bool_)
    found: Mask = among[np.minimum(np.searchsorted(among, keys), len(among) - 1)] == keys
    return found


def _without(hidden: Mask) -> Mask | None:
    return ~hidden if hidden.any() else None


def _both(first: Mask | None, second: Mask | None) -> Mask | None:
    if first is None or second is None:
        return second if first is None else first
    return first & second
