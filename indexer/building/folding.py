"""Published segments → the token index: when a generation is due, and building it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CorruptionError, NotFoundError
from sightline.faultpoint import faultpoint
from sightline.indexer.building.damage import Damage
from sightline.indexer.settings import BuilderSettings
from sightline.store.durable import FileMissingError
from sightline.store.index import BuildRequest
from sightline.store.records import Generation

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Snapshot
    from sightline.store.segments import SegmentReader
    from sightline.types import Keys

log = logging.getLogger(__name__)


class Folding:
    """Keeps each collection's generation present, sound and recent enough."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        indexes: Indexes,
        settings: BuilderSettings,
        monotonic: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._indexes = indexes
        self._settings = settings
        self._monotonic = monotonic
        self._damage = Damage(segments)
        self._verified: dict[str, float] = {}
        """Generation file → when its checksum was last read in full."""

    def due(self, snapshot: Snapshot) -> str | None:
        """Why a new generation is needed now; None when it is not.

        One of a kind that this installation does not know is left to those that do.
        """
        if not snapshot.segments or self._kind(snapshot) not in self._indexes.backends:
            return None
        if snapshot.generation is not None and not self._sound(snapshot.generation):
            return "the generation is missing or damaged"
        if self._many_unfolded(snapshot):
            return "many images are outside of the generation"
        if self._idle(snapshot):
            return "nothing else is going on"
        if self._much_gone(snapshot):
            return "much of the generation is gone"
        return None

    def usable(self, snapshot: Snapshot) -> Snapshot | None:
        """Without the segments that are lost or damaged, which are scanned as far as they can be.

        None when nothing better than the generation that serves can be built: it still holds the images of a
        segment that is lost.
        """
        covered = self._damage.spared(snapshot.covered, tokens_only=True)
        uncovered = self._damage.spared(snapshot.uncovered, tokens_only=True)
        serving = snapshot.generation
        fewer = serving is not None and len(covered) < len(snapshot.covered)
        if not covered + uncovered or (fewer and serving is not None and self._sound(serving)):
            return None
        return replace(snapshot, covered=covered, uncovered=uncovered)

    def fold(self, snapshot: Snapshot) -> bool:
        """Build and publish the next generation over all segments of the snapshot, of the kind that serves.

        False when the catalog has moved on meanwhile (what was built is removed then), or when a segment
        proves damaged, which is known from then on.
        """
        try:
            return self._fold(snapshot)
        except (CorruptionError, FileMissingError):
            if not self._damage.found_in(snapshot.segments, tokens_only=True):
                raise
            return False

    def _fold(self, snapshot: Snapshot) -> bool:
        kind = self._kind(snapshot)
        backend = self._indexes.of(kind)
        built = backend.build(self._segments, BuildRequest(snapshot.segments, snapshot.gone))
        faultpoint("fold.built")
        old = snapshot.generation
        number = old.number if old is not None else 0
        generation = Generation(
            feature_set_id=snapshot.collection.feature_set_id,
            number=number + 1,
            file=built.file,
            sha256=built.sha256,
            covered=built.covered,
            images=built.images,
            created_at=self._catalog.now(),
            kind=kind,
            parameters=built.parameters,
        )
        backend.verify(built.file, built.sha256, quick=True)  # FileMissingError: somebody took it away
        if not self._catalog.publish_generation(snapshot.collection.id, number, generation):
            backend.remove(built.file)
            return False
        faultpoint("fold.published")
        self._verified[built.file] = self._monotonic()
        told = {"generation": number + 1, "kind": kind, "images": built.images}
        log.info("generation published", extra={"collection": snapshot.collection.name, **told})
        return True

    def _kind(self, snapshot: Snapshot) -> str:
        return self._indexes.default if snapshot.generation is None else snapshot.generation.kind

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
        if images > self._settings.fold_idle_max_images:
            return False
        # Newer than now: the clock was put back since, and how long ago it was is not known.
        return not 0.0 <= self._catalog.now() - newest < self._settings.fold_idle_seconds

    def _much_gone(self, snapshot: Snapshot) -> bool:
        generation = snapshot.generation
        if generation is None or generation.images == 0:
            return False
        most = self._settings.fold_dead_fraction * generation.images
        gone = snapshot.gone
        if len(gone) <= most:  # most of the time: no file is opened
            return False
        kept = sum(self._kept(segment.file, gone) for segment in snapshot.covered)
        return generation.images - kept > most

    def _kept(self, file: str, gone: Keys) -> int:
        try:
            keys = self._segments.keys(file)
        except (CorruptionError, FileMissingError):
            return 0  # whether it can be done without is asked later
        return int(np.isin(keys, gone, invert=True).sum())

    def _sound(self, generation: Generation) -> bool:
        """Whether it is there; now and then also whether it is what was built."""
        checked = self._verified.get(generation.file)
        quick = checked is not None and self._monotonic() - checked < self._settings.verify_seconds
        try:
            self._indexes.of(generation.kind).verify(generation.file, generation.sha256, quick=quick)
        except (OSError, CorruptionError, NotFoundError) as error:
            log.error("%s", error, extra={"generation": generation.number})
            return False
        if not quick:
            self._verified[generation.file] = self._monotonic()
        return True
