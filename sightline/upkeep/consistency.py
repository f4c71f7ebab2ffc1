"""Whether the catalog, the segment files and the index of one collection say the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sightline.errors import CorruptionError, ModelMismatchError, NotFoundError
from sightline.store.conditions import Filter

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Collection, ImageLocation, Segment, Snapshot
    from sightline.store.segments import SegmentReader
    from sightline.types import Keys

CHUNK = 10_000


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
        live = self._live(snapshot)
        trashed = self._places(snapshot.trashed)
        found: list[Keys] = []
        for segment in snapshot.segments:
            yield from self._segment(segment, live | trashed, quick, found)
        yield from self._codecs(snapshot)
        yield from _missing("no published segment", live, _joined(found), snapshot.dead)
        yield from _missing("no published segment", trashed, _joined(found), snapshot.gone, "deleted")
        yield from self._index(snapshot, live)
        for features in self._catalog.other_feature_sets(snapshot.collection.id):
            yield from self._features(features.id, quick)

    def _features(self, feature_set_id: int, quick: bool) -> Iterator[str]:
        """What models that do not serve made; an image of which a set has nothing yet is no disagreement."""
        snapshot = self._catalog.snapshot_of_set(feature_set_id)
        if snapshot is None:
            return
        kept = self._catalog.filter_keys(snapshot.collection.id, Filter())
        places = self._places(np.concatenate([kept, snapshot.trashed]), feature_set_id)
        found: list[Keys] = []
        for segment in snapshot.segments:
            yield from self._segment(segment, places, quick, found)
        yield from self._codecs(snapshot)

    def _live(self, snapshot: Snapshot) -> dict[int, ImageLocation]:
        """Every live key with the place where the catalog says its row is."""
        return self._places(self._catalog.filter_keys(snapshot.collection.id, Filter()))

    def _places(self, keys: Keys, feature_set_id: int | None = None) -> dict[int, ImageLocation]:
        places: dict[int, ImageLocation] = {}
        for start in range(0, len(keys), CHUNK):
            places |= self._catalog.locations(keys[start : start + CHUNK].tolist(), feature_set_id)
        return places

    def _segment(
        self, segment: Segment, kept: dict[int, ImageLocation], quick: bool, found: list[Keys]
    ) -> Iterator[str]:
        """What is wrong with one segment; its keys are added to ``found``."""
        try:
            if not quick:
                self._segments.verify(segment.file, segment.sha256)
            keys = self._segments.keys(segment.file)
        except (OSError, NotFoundError, CorruptionError) as error:
            yield str(error)
            return
        found.append(keys)
        wrong = [
            key for row, key in enumerate(keys.tolist())
            if key in kept and (kept[key].segment_id, kept[key].row) != (segment.id, row)
        ]  # fmt: skip
        if wrong:
            places = f"{len(wrong)} images of segment {segment.file} elsewhere (key {wrong[0]})"
            yield f"The catalog places {places}."

    def _codecs(self, snapshot: Snapshot) -> Iterator[str]:
        """Whether the patch codec of every segment is there."""
        for codec in sorted({segment.codec for segment in snapshot.segments}):
            try:
                self._formats.of(codec, snapshot.collection.fingerprint)
            except (OSError, NotFoundError, CorruptionError, ModelMismatchError) as error:
                yield str(error)

    def _index(self, snapshot: Snapshot, live: dict[int, ImageLocation]) -> Iterator[str]:
        """What a search can find: the generation and the segments outside of it, without the dead."""
        try:
            parts = [self._segments.keys(segment.file) for segment in snapshot.uncovered]
            serving = snapshot.generation
            if serving is not None:
                report = self._indexes.of(serving.kind).report(serving.file, serving.sha256)
                if report.problem is not None:
                    yield report.problem
                    return
                parts.append(report.keys)
        except (OSError, NotFoundError, CorruptionError) as error:
            yield str(error)
            return
        yield from _findable(_joined(parts), live, snapshot.dead)


def _findable(keys: Keys, live: dict[int, ImageLocation], dead: Keys) -> Iterator[str]:
    """What is wrong with the keys that generation and tail hold together."""
    unique, counts = np.unique(keys[~np.isin(keys, dead)], return_counts=True)
    if (counts > 1).any():
        yield f"{int((counts > 1).sum())} images can be found twice (key {int(unique[counts > 1][0])})."
    yield from _missing("neither the index nor an unfolded segment", live, keys, dead)
    phantoms = unique[~np.isin(unique, np.fromiter(live, np.int64, len(live)))]
    if len(phantoms):
        yield f"{len(phantoms)} images that are not live can be found (key {int(phantoms[0])})."


def _missing(
    where: str, kept: dict[int, ImageLocation], keys: Keys, dead: Keys, what: str = "live"
) -> Iterator[str]:
    wanted = np.fromiter(kept, np.int64, len(kept))
    missing = wanted[~np.isin(wanted, keys) | np.isin(wanted, dead)]
    if len(missing):
        yield f"{len(missing)} {what} images are in {where} (key {int(missing[0])})."


def _joined(parts: list[Keys]) -> Keys:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
