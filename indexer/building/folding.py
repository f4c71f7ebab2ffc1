"""Published segments → the token index: when a generation is due, and building it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sightline.errors import CorruptionError, InputError, NotFoundError
from sightline.faultpoint import faultpoint
from sightline.indexer.building.damage import Damage
from sightline.indexer.building.kinds import Kinds, Wish
from sightline.indexer.settings import BuilderSettings
from sightline.store.durable import FileMissingError
from sightline.store.index import BuildRequest
from sightline.store.records import Generation

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.index import BuiltIndex, Indexes, StoredIndex
    from sightline.store.records import Snapshot
    from sightline.store.segments import SegmentReader
    from sightline.types import Keys

log = logging.getLogger(__name__)


class _Made(NamedTuple):
    """A generation that is not published yet; ``kept`` goes into its parameters."""

    kind: str
    built: BuiltIndex
    kept: Mapping[str, Any]


class Folding:
    """Keeps each collection's generation present, sound and recent enough."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        indexes: Indexes,
        settings: BuilderSettings,
        monotonic: Callable[[], float],
        kinds: Kinds,
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._indexes = indexes
        self._settings = settings
        self._monotonic = monotonic
        self._kinds = kinds
        self._damage = Damage(segments)
        self._verified: dict[str, float] = {}
        """Generation file → when its checksum was last read in full."""

    def due(self, snapshot: Snapshot) -> str | None:
        """Why a new generation is needed now; None when it is not.

        One of a kind that this installation does not know is left to those that do.
        """
        if not snapshot.segments or not self._kinds.is_tended_here(snapshot):
            return None
        if snapshot.generation is not None and not self._sound(snapshot.generation):
            return "the generation is missing or damaged"
        if self._many_unfolded(snapshot):
            return "many images are outside of the generation"
        if self._idle(snapshot):
            return "nothing else is going on"
        if self._much_gone(snapshot):
            return "much of the generation is gone"
        return self._other_kind(snapshot)

    def _other_kind(self, snapshot: Snapshot) -> str | None:
        """Why what serves is to be built anew, as what it is or as another kind."""
        return self._kinds.moves(snapshot) or self._kinds.must_train(snapshot)

    def usable(self, snapshot: Snapshot) -> Snapshot | None:
        """Without the segments that are lost or damaged, which are scanned as far as they can be.

        None when nothing better than the generation that serves can be built: an exact one still holds the
        images of a segment that is lost.
        """
        covered = self._damage.spared(snapshot.covered, tokens_only=True)
        uncovered = self._damage.spared(snapshot.uncovered, tokens_only=True)
        serving = snapshot.generation
        fewer = serving is not None and len(covered) < len(snapshot.covered)
        holds = serving is not None and self._kinds.is_exact(serving.kind)
        if not covered + uncovered or (fewer and holds and serving is not None and self._sound(serving)):
            return None
        return replace(snapshot, covered=covered, uncovered=uncovered)

    def takes_long(self, snapshot: Snapshot) -> bool:
        """Whether building the next one is no matter of seconds: an approximate one learns."""
        return not self._kinds.is_exact(self._kinds.wish(snapshot).kinds[0])

    def fold(self, snapshot: Snapshot, *, anew: bool = False, without: Sequence[int] | None = None) -> bool:
        """Build and publish the next generation over all segments of the snapshot, of the kind that fits.

        It grows from the one that serves unless ``anew``, or that one is of another kind, damaged, or has to
        be trained again. ``without``: keys that no file of it may hold (a purge). False when the catalog has
        moved on meanwhile (what was built is removed then), or when a segment proves damaged, which is known
        from then on.
        """
        try:
            return self._fold(snapshot, anew, without)
        except (CorruptionError, FileMissingError):
            if not self._damage.found_in(snapshot.segments, tokens_only=True):
                raise
            return False

    def _fold(self, snapshot: Snapshot, anew: bool, without: Sequence[int] | None) -> bool:
        wish = self._kinds.wish(snapshot) if without is None else self._kinds.same(snapshot)
        serving = None if anew else self._grown_from(snapshot, wish)
        request = BuildRequest(
            snapshot.segments,
            snapshot.gone if without is None else np.union1d(snapshot.gone, np.array(without, np.int64)),
            strict=without is not None,
            texts=wish.texts,
            recall_target=self._kinds.recall_target,
        )
        made = self._build(snapshot, wish, request, serving)
        return made is not None and self._publish(snapshot, made)

    def _build(
        self, snapshot: Snapshot, wish: Wish, request: BuildRequest, serving: Generation | None
    ) -> _Made | None:
        """The first of the kinds that is fit; None when that one serves already, which is noted there."""
        refused: dict[str, float | None] = {}
        for kind in wish.kinds:
            if refused and self._serves_all(snapshot, kind):
                self._catalog.note_generation(
                    snapshot.collection.id, self._served(snapshot), wish.kept(refused)
                )
                return None
            grown = serving if serving is not None and serving.kind == kind else None
            built = self._try(kind, replace(request, serving=grown), may_fail=kind != wish.kinds[-1])
            if built is not None and (grown or kind == wish.kinds[-1] or built.recall >= wish.target):
                return _Made(kind, built, _kept(wish, refused, built, grown is not None))
            refused[kind] = None if built is None else built.recall
            if built is not None:
                self._indexes.of(kind).remove(built.file)
            told = {"collection": snapshot.collection.name, "kind": kind, "recall": refused[kind]}
            log.warning("an index of this kind finds too little or cannot be built", extra=told)
        return None

    def _try(self, kind: str, request: BuildRequest, *, may_fail: bool) -> BuiltIndex | None:
        """None when this kind cannot be built from what there is, and there is another one to try."""
        backend = self._indexes.of(kind)
        try:
            return backend.build(self._segments, request)
        except InputError as error:
            if not may_fail:
                raise
            log.warning("%s", error)
            return None
        except (CorruptionError, FileMissingError):
            if request.serving is None or self._is_whole(kind, request.serving):
                raise
        return backend.build(self._segments, replace(request, serving=None))

    def _is_whole(self, kind: str, serving: StoredIndex) -> bool:
        """Whether all of it is what was built."""
        try:
            self._indexes.of(kind).verify(serving.file, serving.sha256)
        except (OSError, CorruptionError, NotFoundError) as error:
            log.error("%s", error)
            return False
        return True

    def _grown_from(self, snapshot: Snapshot, wish: Wish) -> Generation | None:
        """What serves, if a new one may share what it holds."""
        serving = snapshot.generation
        if serving is None or serving.kind not in wish.kinds or self._kinds.is_exact(serving.kind):
            return None
        if self._kinds.must_train(snapshot) is not None or not self._sound(serving):
            return None
        return serving

    def _serves_all(self, snapshot: Snapshot, kind: str) -> bool:
        """Whether one of this kind serves and holds everything, so that another would be the same."""
        serving = snapshot.generation
        return (
            serving is not None and serving.kind == kind and not snapshot.uncovered and self._sound(serving)
        )

    def _served(self, snapshot: Snapshot) -> Generation:
        assert snapshot.generation is not None
        return snapshot.generation

    def _publish(self, snapshot: Snapshot, made: _Made) -> bool:
        old, built, backend = snapshot.generation, made.built, self._indexes.of(made.kind)
        number = old.number if old is not None else 0
        generation = Generation(
            feature_set_id=snapshot.collection.feature_set_id,
            number=number + 1,
            file=built.file,
            sha256=built.sha256,
            covered=built.covered,
            images=built.images,
            created_at=self._catalog.now(),
            kind=made.kind,
            parameters=made.kept,
        )
        faultpoint("fold.built")
        backend.verify(built.file, built.sha256, quick=True)  # FileMissingError: somebody took it away
        moves = old is not None and old.kind != made.kind
        if not self._catalog.publish_generation(snapshot.collection.id, number, generation, takes_over=moves):
            backend.remove(built.file)
            return False
        faultpoint("fold.published")
        self._verified[built.file] = self._monotonic()
        told = {"generation": number + 1, "kind": made.kind, "images": built.images, "recall": built.recall}
        log.info("generation published", extra={"collection": snapshot.collection.name, **told})
        return True

    # --- reasons ----------------------------------------------------------------------------------

    def _many_unfolded(self, snapshot: Snapshot) -> bool:
        folded = snapshot.generation.images if snapshot.generation is not None else 0
        most = max(self._settings.fold_min_images, self._settings.fold_fraction * folded)
        one, images = snapshot.collection, sum(segment.count for segment in snapshot.uncovered)
        each = 2 * one.num_query_tokens * one.joint_dim
        return images > most or images * each > self._settings.fold_max_bytes

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


def _kept(wish: Wish, refused: Mapping[str, float | None], built: BuiltIndex, grown: bool) -> dict[str, Any]:
    """The parameters of a generation: what its kind tells, and why it is of this kind."""
    parameters = {**built.parameters, "grown": grown, **wish.kept(refused)}
    if grown and built.recall < wish.target:
        parameters["retrain"] = parameters.get("retrain") or "it finds less than the target"
    return parameters
