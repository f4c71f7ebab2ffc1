"""Fewer, fuller segments: small ones are merged, mostly dead ones are rewritten or dropped."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.faultpoint import faultpoint
from sightline.indexer.settings import BuilderSettings
from sightline.store.durable import publish_or_remove
from sightline.store.segments import rewrite_segment

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.records import Segment, Snapshot
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)


class Compaction:
    """Replaces segments by better ones, in one transaction each."""

    def __init__(self, catalog: Catalog, segments: SegmentReader, settings: BuilderSettings) -> None:
        self._catalog = catalog
        self._segments = segments
        self._settings = settings

    def rewrite_dead(self, snapshot: Snapshot) -> int:
        """Rewrite every segment of which too much is dead; how many."""
        if not len(snapshot.dead):
            return 0
        worst = [segment for segment in snapshot.segments if self._is_mostly_dead(segment, snapshot)]
        return sum(self._replace(snapshot, [segment]) for segment in worst)

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
                chosen = self._choose(group)
                if chosen and self._replace(snapshot, chosen):
                    merged += len(chosen)
        return merged

    def _choose(self, segments: Sequence[Segment]) -> list[Segment]:
        """The smallest ones, as many as one merge may read; none when they are too few to bother."""
        small = [segment for segment in segments if segment.count < self._settings.merge_below_images]
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

    def _is_mostly_dead(self, segment: Segment, snapshot: Snapshot) -> bool:
        keys, _ = self._segments.tokens(segment.file)
        return bool(np.isin(keys, snapshot.dead).mean() > self._settings.rewrite_dead_fraction)

    def _replace(self, snapshot: Snapshot, old: Sequence[Segment]) -> bool:
        keys = np.concatenate([self._segments.tokens(segment.file)[0] for segment in old])
        alive = np.setdiff1d(keys, snapshot.dead)
        new = rewrite_segment(self._segments, old, alive) if len(alive) else None
        old_ids = [segment.id for segment in old]
        replaced = publish_or_remove(
            self._segments.path(new),
            lambda: self._catalog.replace_segments(snapshot.collection.id, old_ids, new),
        )
        faultpoint("compact.published")
        if replaced:
            counts = {"segments": len(old), "rows_before": len(keys), "rows_after": len(alive)}
            log.info("segments replaced", extra={"collection": snapshot.collection.name, **counts})
        return replaced
