"""Fewer, fuller segments: small ones are merged, mostly dead ones are rewritten or dropped."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CorruptionError
from sightline.faultpoint import faultpoint
from sightline.indexer.building.damage import Damage
from sightline.indexer.settings import BuilderSettings
from sightline.store.durable import FileMissingError, publish_or_remove
from sightline.store.segments import rewrite_segment

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.records import Segment, Snapshot
    from sightline.store.segments import SegmentReader
    from sightline.types import Keys

log = logging.getLogger(__name__)


class Compaction:
    """Replaces segments by better ones, in one transaction each."""

    def __init__(self, catalog: Catalog, segments: SegmentReader, settings: BuilderSettings) -> None:
        self._catalog = catalog
        self._segments = segments
        self._settings = settings
        self._damage = Damage(segments)

    def rewrite_dead(self, snapshot: Snapshot) -> int:
        """Rewrite every segment of which too much is gone, the trash not counted; how many."""
        gone = snapshot.gone
        if not len(gone):
            return 0
        usable = self._damage.spared(snapshot.segments)
        worst = [segment for segment in usable if self._is_mostly_gone(segment, gone)]
        return sum(self._merge(snapshot, [segment]) for segment in worst)

    def drop_gone(self, snapshot: Snapshot, segment: Segment) -> bool:
        """Rewrite one segment without what is gone; False when the catalog has moved on meanwhile."""
        return self._replace(snapshot, [segment])

    def merge_small(self, snapshot: Snapshot) -> int:
        """One merge for each kind of segment that has enough small ones; how many segments were merged.

        Covered and uncovered segments never mix: the generation covers a whole segment or nothing of it.
        """
        merged = 0
        for half in (snapshot.covered, snapshot.uncovered):
            by_codec: dict[str, list[Segment]] = defaultdict(list)
            for segment in half:
                by_codec[segment.codec].append(segment)
            for group in by_codec.values():
                merged += self._merge(snapshot, self._choose(group), group)
        return merged

    def _merge(self, snapshot: Snapshot, chosen: Sequence[Segment], group: Sequence[Segment] = ()) -> int:
        """How many were replaced by one. When one proves damaged, others of the group are chosen."""
        try:
            return len(chosen) if chosen and self._replace(snapshot, chosen) else 0
        except (CorruptionError, FileMissingError):
            damaged = self._damage.found_in(chosen)
            if not damaged:
                raise
            return self._merge(snapshot, self._choose(group), group)

    def _choose(self, segments: Sequence[Segment]) -> list[Segment]:
        """The smallest ones, as many as one merge may read; none when they are too few to bother."""
        small = [segment for segment in segments if segment.count < self._settings.merge_below_images]
        small = self._damage.spared(small) if len(small) > 1 else small
        chosen: list[Segment] = []
        size = 0
        for segment in sorted(small, key=lambda segment: segment.count):
            size += segment.bytes
            if size > self._settings.merge_max_bytes:
                break
            chosen.append(segment)
        if len(chosen) < max(2, self._settings.merge_at_least):
            return []
        return sorted(chosen, key=lambda segment: segment.id)

    def _is_mostly_gone(self, segment: Segment, gone: Keys) -> bool:
        keys = self._segments.keys(segment.file)
        return bool(np.isin(keys, gone).mean() > self._settings.rewrite_dead_fraction)

    def _replace(self, snapshot: Snapshot, old: Sequence[Segment]) -> bool:
        keys = np.concatenate([self._segments.keys(segment.file) for segment in old])
        kept = np.setdiff1d(keys, snapshot.gone)
        new = rewrite_segment(self._segments, old, kept) if len(kept) else None
        old_ids = [segment.id for segment in old]
        replaced = publish_or_remove(
            self._segments.path(new),
            lambda: self._catalog.replace_segments(snapshot.collection.id, old_ids, new),
        )
        faultpoint("compact.published")
        if replaced:
            counts = {"segments": len(old), "rows_before": len(keys), "rows_after": len(kept)}
            log.info("segments replaced", extra={"collection": snapshot.collection.name, **counts})
        return replaced
