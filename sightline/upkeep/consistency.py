"""Whether the catalog, the segment files and the index of one collection say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sightline.errors import CorruptionError, ModelMismatchError, NotFoundError
from sightline.store.conditions import Filter

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Collection, Segment, Snapshot
    from sightline.store.segments import SegmentReader
    from sightline.store.sql.locations import Places
    from sightline.types import Keys, Mask

CHUNK = 2_000
"""Images whose places are read together."""
MOST = 500
"""Segments, too: each is a parameter of the query."""


class Formats(Protocol):
    """The ways in which patches are kept."""

    def of(self, codec: str, fingerprint: str) -> object:
        """The one that a segment names.

        `NotFoundError`, `CorruptionError` or `ModelMismatchError` when its file is
        gone, damaged or another model's.
        """
        ...


class Consistency:
    """Compares what the parts of an installation say."""

    def __init__(self, catalog: Catalog, segments: SegmentReader, indexes: Indexes, formats: Formats) -> None:
        self._catalog = catalog
        self._segments = segments
        self._indexes = indexes
        self._formats = formats

    def disagreements(self, collection: Collection, *, quick: bool = False) -> list[str]:
        """One sentence for each; empty when all is well, or the collection is gone meanwhile.

        One in the trash is looked at as any other: it is to answer the same when it is restored.

        ``quick`` compares keys only; otherwise every segment is read in full against its SHA-256, as the
        generation always is. A builder or worker that publishes in the middle can make a healthy collection
        look torn: the state is read again then, and only what holds for one version counts.
        """
        said: list[str] = []
        for _ in range(3):
            before = self._catalog.snapshot_of(collection.id)
            said = [] if before is None else list(self._look(before, quick))
            after = self._catalog.snapshot_of(collection.id) if said else None
            if before is None or (after is not None and after.collection == before.collection) or not said:
                return said
        return said

    def _look(self, snapshot: Snapshot, quick: bool) -> Iterator[str]:
        live = Tally(self._catalog.filter_keys(snapshot.collection.id, Filter()))
        trashed = Tally(snapshot.trashed)
        yield from self._segments_of(snapshot, (live, trashed), quick)
        yield from self._codecs(snapshot)
        yield from _missing("no published segment", live, snapshot.dead)
        yield from _missing("no published segment", trashed, snapshot.gone, "deleted")
        yield from self._index(snapshot, Tally(live.keys))
        for features in self._catalog.other_feature_sets(snapshot.collection.id):
            yield from self._features(features.id, quick)

    def _features(self, feature_set_id: int, quick: bool) -> Iterator[str]:
        """What models that do not serve made; an image of which a set has nothing yet is no disagreement."""
        snapshot = self._catalog.snapshot_of_set(feature_set_id)
        if snapshot is None:
            return
        kept = self._catalog.filter_keys(snapshot.collection.id, Filter())
        yield from self._segments_of(snapshot, (Tally(kept), Tally(snapshot.trashed)), quick)
        yield from self._codecs(snapshot)

    def _segments_of(self, snapshot: Snapshot, kept: Sequence[Tally], quick: bool) -> Iterator[str]:
        """What is wrong with segments; whose keys they hold is counted in ``kept``.

        A few at a time: of a million images there are 8 bytes each in memory, and no object.
        """
        for some in _portions(snapshot.segments):
            places = self._catalog.placements_in([segment.id for segment in some])
            for segment in some:
                yield from self._segment(segment, places[places[:, 0] == segment.id], kept, quick)

    def _segment(self, segment: Segment, places: Places, kept: Sequence[Tally], quick: bool) -> Iterator[str]:
        try:
            if not quick:
                self._segments.verify(segment.file, segment.sha256)
            keys = self._segments.keys(segment.file)
        except (OSError, NotFoundError, CorruptionError) as error:
            yield str(error)
            return
        there = places[places[:, 1] < len(keys)]
        placed = np.full(len(keys), -1, np.int64)
        placed[there[:, 1]] = there[:, 2]
        wanted = np.logical_or.reduce([tally.count(keys) for tally in kept])
        wrong = keys[wanted & (placed != keys)]
        if len(wrong):
            elsewhere = f"{len(wrong)} images of segment {segment.file} elsewhere (key {wrong[0]})"
            yield f"The catalog places {elsewhere}."

    def _codecs(self, snapshot: Snapshot) -> Iterator[str]:
        """Whether the patch codec of every segment is there."""
        for codec in sorted({segment.codec for segment in snapshot.segments}):
            try:
                self._formats.of(codec, snapshot.collection.fingerprint)
            except (OSError, NotFoundError, CorruptionError, ModelMismatchError) as error:
                yield str(error)

    def _index(self, snapshot: Snapshot, live: Tally) -> Iterator[str]:
        """What a search can find: the generation and the segments outside of it, without the dead."""
        strangers: list[Keys] = []
        try:
            for keys in self._findable(snapshot):
                alive = keys[~np.isin(keys, snapshot.dead)]
                strangers.append(alive[~live.count(alive)])
        except CorruptionError as error:
            yield str(error)
            return
        twice = live.keys[live.times > 1]
        if len(twice):
            yield f"{len(twice)} images can be found twice (key {twice[0]})."
        yield from _missing("neither the index nor an unfolded segment", live, snapshot.dead)
        phantoms = np.unique(np.concatenate([np.empty(0, np.int64), *strangers]))
        if len(phantoms):
            yield f"{len(phantoms)} images that are not live can be found (key {phantoms[0]})."

    def _findable(self, snapshot: Snapshot) -> Iterator[Keys]:
        """The keys of the generation and of each segment outside of it; `CorruptionError` when one is not
        there or not what was written."""
        try:
            for segment in snapshot.uncovered:
                yield self._segments.keys(segment.file)
            serving = snapshot.generation
            if serving is not None:
                report = self._indexes.of(serving.kind).report(serving.file, serving.sha256)
                if report.problem is not None:
                    raise CorruptionError(report.problem)
                yield report.keys
        except (OSError, NotFoundError) as error:
            raise CorruptionError(str(error)) from error


class Tally:
    """How often each of these keys (sorted, distinct) was met: ``times`` ``[N]``."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.times = np.zeros(len(keys), np.uint16)

    def count(self, keys: Keys) -> Mask:
        """Count these; ``[len(keys)]`` which of them are among ours."""
        if not len(self.keys):
            return np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        ours: Mask = self.keys[at] == keys
        np.add.at(self.times, at[ours], 1)
        return ours


def _portions(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Neighbours with about `CHUNK` images together, and at most `MOST` of them."""
    some: list[Segment] = []
    for segment in segments:
        some.append(segment)
        if len(some) == MOST or sum(one.count for one in some) >= CHUNK:
            yield some
            some = []
    if some:
        yield some


def _missing(where: str, kept: Tally, dead: Keys, what: str = "live") -> Iterator[str]:
    """``dead``: those that are not found though they are there."""
    missing = kept.keys[(kept.times == 0) | np.isin(kept.keys, dead)]
    if len(missing):
        yield f"{len(missing)} {what} images are in {where} (key {missing[0]})."
