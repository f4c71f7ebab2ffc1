"""Published segments → the token index: when a generation is due, and building it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CorruptionError, NotFoundError
from sightline.indexer.settings import BuilderSettings
from sightline.store.durable import publish_or_remove
from sightline.store.records import Generation

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.records import Snapshot
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)


class Folding:
    """Keeps each collection's generation present, sound and recent enough."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        folder: Path,
        settings: BuilderSettings,
        now: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._folder = folder
        self._settings = settings
        self._now = now
        self._verified: dict[str, float] = {}
        """Generation file → when its checksum was last read in full."""

    def due(self, snapshot: Snapshot) -> str | None:
        """Why a new generation is needed now; None when it is not."""
        if not snapshot.covered and not snapshot.uncovered:
            return None
        if snapshot.generation is not None and not self._sound(snapshot.generation):
            return "the generation is missing or damaged"
        if self._many_unfolded(snapshot):
            return "many images are outside of the generation"
        if self._idle(snapshot):
            return "nothing else is going on"
        if self._many_dead(snapshot):
            return "much of the generation is dead"
        return None

    def fold(self, snapshot: Snapshot) -> bool:
        """Build and publish the next generation over all segments of the snapshot.

        False when the catalog has moved on meanwhile (the file is removed) or nothing is alive.
        """
        from sightline.store.generations import build_generation

        built = build_generation(self._folder, self._segments, snapshot.segments, snapshot.dead)
        old = snapshot.generation
        number = old.number if old is not None else 0
        generation = Generation(
            feature_set_id=snapshot.collection.feature_set_id,
            number=number + 1,
            file=built.file,
            sha256=built.sha256,
            covered=tuple(built.covered),
            images=built.images,
            created_at=self._now(),
        )
        if old is not None:
            # Its age counts from now on: searches that began before may still open it for a while.
            with suppress(FileNotFoundError):
                os.utime(self._folder / old.file)
        published = publish_or_remove(
            self._folder / built.file,
            lambda: self._catalog.publish_generation(snapshot.collection.id, number, generation),
        )
        if not published:
            return False
        self._verified[built.file] = self._now()
        log.info(
            "generation published",
            extra={"collection": snapshot.collection.name, "generation": number + 1, "images": built.images},
        )
        return True

    # --- reasons ----------------------------------------------------------------------------------

    def _many_unfolded(self, snapshot: Snapshot) -> bool:
        folded = snapshot.generation.images if snapshot.generation is not None else 0
        most = max(self._settings.fold_min_images, self._settings.fold_fraction * folded)
        return sum(segment.count for segment in snapshot.uncovered) > most

    def _idle(self, snapshot: Snapshot) -> bool:
        """A small collection into which nothing came for a moment: folding it costs next to nothing."""
        if not snapshot.uncovered:
            return False
        images = sum(segment.count for segment in snapshot.segments)
        newest = max(segment.created_at for segment in snapshot.uncovered)
        quiet = self._now() - newest >= self._settings.fold_idle_seconds
        return quiet and images <= self._settings.fold_idle_max_images

    def _many_dead(self, snapshot: Snapshot) -> bool:
        generation = snapshot.generation
        if generation is None or generation.images == 0:
            return False
        most = self._settings.fold_dead_fraction * generation.images
        if len(snapshot.dead) <= most:  # most of the time: no file is opened
            return False
        alive = sum(self._alive(segment.file, snapshot) for segment in snapshot.covered)
        return generation.images - alive > most

    def _alive(self, file: str, snapshot: Snapshot) -> int:
        keys, _ = self._segments.tokens(file)
        return int(np.isin(keys, snapshot.dead, invert=True).sum())

    def _sound(self, generation: Generation) -> bool:
        """Whether the file is there; now and then also whether it is what was written."""
        from sightline.store.generations import verify_generation

        if not (self._folder / generation.file).exists():
            return False
        checked = self._verified.get(generation.file)
        if checked is not None and self._now() - checked < self._settings.verify_seconds:
            return True
        try:
            verify_generation(self._folder, generation.file, generation.sha256)
        except (CorruptionError, NotFoundError) as error:
            log.error("%s", error, extra={"generation": generation.number})
            return False
        self._verified = {generation.file: self._now()} | self._verified
        return True
