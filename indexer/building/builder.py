"""The caretaker: one at a time in the whole installation, safe to kill at any instant.

Everything that it publishes is one transaction that checks what it was based on, so the singleton lease
only saves work; two builders at once would harm nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError, LeaseLostError, NotFoundError, SightlineError, UnavailableError
from sightline.indexer.building.cleaning import Cleaning
from sightline.indexer.building.compaction import Compaction
from sightline.indexer.building.folding import Folding
from sightline.indexer.building.kinds import Kinds, NoTexts, live_images
from sightline.indexer.building.long_build import LongBuild
from sightline.indexer.building.purging import Purging
from sightline.indexer.building.recoding import Recoding
from sightline.indexer.building.sweeping import Sweeper
from sightline.indexer.heartbeat import Heartbeat
from sightline.indexer.names import BUILDER, worker_name
from sightline.indexer.parts import Queue
from sightline.indexer.settings import BuilderSettings, IndexSettings
from sightline.indexer.troubles import trouble_of
from sightline.store.durable import FileMissingError
from sightline.types import PatchLevel

if TYPE_CHECKING:
    from sightline.blip.patch_formats import PatchFormats
    from sightline.indexer.building.kinds import TextSource
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Snapshot
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)

PURGES = "~"
"""Stands for the purges where collections are named; none can have this name."""


@dataclass
class StepReport:
    """What one pass did."""

    expired: int = 0
    given_up: int = 0
    purged: int = 0
    resent: int = 0
    sealed: int = 0
    folded: int = 0
    merged: int = 0
    rewritten: int = 0
    removed: int = 0
    released: int = 0

    @property
    def busy(self) -> bool:
        """Whether there may be more of the same to do at once."""
        return bool(self.folded or self.merged or self.rewritten)


class Builder:
    """One for each process that runs it; not thread-safe."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        segments: SegmentReader,
        indexes: Indexes,
        formats: PatchFormats,
        settings: BuilderSettings | None = None,
        queue: Queue | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        patch_codec: PatchLevel = "fp16",
        listers: Mapping[str, Callable[[str], object]] | None = None,
        index: IndexSettings | None = None,
        texts: TextSource | None = None,
    ) -> None:
        """``monotonic`` measures intervals; the time of day is the database's, whatever this host thinks.

        ``listers``: by kind of job, what lists its images again when whoever began that died. ``index``:
        which kind of index collections get, ``texts``: what approximate ones learn from.
        """
        self._catalog = catalog
        self._settings = settings = settings or BuilderSettings()
        self._monotonic = monotonic
        self._owner = worker_name()
        self._sweeper = Sweeper(catalog, queue, settings, monotonic, listers)
        index = index or IndexSettings()
        kinds = Kinds(indexes, index, texts or NoTexts(), monotonic, partial(live_images, catalog))
        self._folding = Folding(catalog, segments, indexes, settings, monotonic, kinds)
        self._compaction = Compaction(catalog, segments, settings)
        self._recoding = Recoding(catalog, segments, formats, patch_codec)
        self._purging = Purging(catalog, blobs, segments, indexes, settings, monotonic, index=index)
        self._cleaning = Cleaning(catalog, blobs, segments, indexes, settings, catalog.now)
        self._snapshots: dict[str, Snapshot] = {}
        """By collection name, to be read again only when the version has changed."""
        self._settled: dict[int, int] = {}
        """Collection id → the version at which nothing was left to do."""
        self._rests: dict[str, float] = {}
        """Name of a collection that could not be tended → when to try again."""
        self._cleaned_at = -float("inf")
        self._beside: LongBuild | None = None
        """Where builds that take long run; None: within the pass."""

    def run(self, stop: threading.Event, patience: float = 10.0) -> bool:
        """Pass after pass until ``stop`` is set; errors are logged and the next pass tries again.

        False when a long build goes on in its thread ``patience`` seconds later: the process should end.
        """
        self._beside = LongBuild()
        try:
            while not stop.is_set():
                if not self._pass():
                    stop.wait(self._settings.interval_seconds)
        finally:
            ended = self._beside.end(patience)
            self._beside = None
            self._catalog.release_singleton(BUILDER, self._owner)
        return ended

    def step(self) -> StepReport | None:
        """One pass under the singleton lease, given back at its end; None when another builder holds it."""
        try:
            return self._leased()
        finally:
            self._catalog.release_singleton(BUILDER, self._owner)

    def fold(self, collection: str) -> bool:
        """Fold all that is published, due or not; False when there is nothing new (or somebody else did)."""
        usable = self._folding.usable(self._catalog.snapshot(collection))
        return usable is not None and bool(usable.uncovered) and self._folding.fold(usable)

    def refold(self, collection_id: int) -> bool:
        """Fold all that is published, whatever lies in the place of the generation; False as for `fold`.

        Also of a collection in the trash.
        """
        snapshot = self._catalog.snapshot_of(collection_id)
        return snapshot is not None and self._folding.fold(snapshot, anew=True)

    def _pass(self) -> bool:
        """Whether there is more to do at once."""
        try:
            report = self._leased()
        except (LeaseLostError, UnavailableError) as error:
            log.warning("%s", error)
            return False
        except Exception:
            log.exception("the builder's pass went wrong")
            return False
        return report is not None and report.busy

    def _leased(self) -> StepReport | None:
        """One pass; the lease stays ours, so that builders do not take turns for nothing."""
        seconds = self._settings.lease_seconds
        if not self._catalog.acquire_singleton(BUILDER, self._owner, seconds):
            return None
        heartbeat = Heartbeat(
            self._renew,
            lease=seconds,
            interval=seconds / 3,
            what="the builder's lease",
        )
        report = StepReport()
        with heartbeat:
            self._sweep(report)
            self._purge(report)
            self._collect(report)
            for collection in self._catalog.collections():
                heartbeat.check()
                self._tend(collection.name, report, heartbeat)
            self._clean(report)
        return report

    def _renew(self) -> bool:
        """Beside a pass that takes long, which building a large index does: no task waits for its end."""
        renewed = self._catalog.renew_singleton(BUILDER, self._owner, self._settings.lease_seconds)
        if renewed:
            self._sweeper.expire()
        return renewed

    def _sweep(self, report: StepReport) -> None:
        report.expired = self._sweeper.expire()
        report.resent = self._sweeper.resend()
        report.sealed = self._sweeper.end_abandoned()
        report.given_up = self._catalog.expire_trash(self._settings.trash_seconds)

    def _purge(self, report: StepReport) -> None:
        """End what purges have begun and could not end."""
        if self._monotonic() < self._rests.get(PURGES, 0.0):
            return
        try:
            report.purged = self._purging.finish(early=False)
        except (SightlineError, OSError) as error:
            unforeseen = None if isinstance(error, CorruptionError) else error
            log.error("Pictures could not be purged: %s", error, exc_info=unforeseen)
            self._rests[PURGES] = self._monotonic() + self._settings.rest_seconds

    def _tend(self, name: str, report: StepReport, heartbeat: Heartbeat) -> None:
        """Fold, rewrite and merge one collection; a problem with it must not keep the others waiting."""
        if self._is_built_beside(name) or self._monotonic() < self._rests.get(name, -float("inf")):
            return
        try:
            snapshot = self._snapshot(name)
            if self._folded(snapshot, report):
                snapshot = self._snapshot(name)
            heartbeat.check()
            if not self._is_built_beside(name):
                self._compact(snapshot, report)
        except LeaseLostError:
            raise
        except (SightlineError, OSError) as error:
            self._rest(name, error)

    def _rest(self, name: str, error: Exception) -> None:
        self._snapshots.pop(name, None)
        if isinstance(error, NotFoundError) and not isinstance(error, FileMissingError):
            return  # deleted meanwhile
        sentence = trouble_of(error)
        if sentence is None:
            log.error("a collection could not be tended", exc_info=error, extra={"collection": name})
        else:
            log.error("A collection cannot be tended now: %s", sentence, extra={"collection": name})
        self._rests[name] = self._monotonic() + self._settings.rest_seconds

    def _is_built_beside(self, name: str) -> bool:
        """Then its segments stay as they are: what is built from them could not be published."""
        return self._beside is not None and self._beside.of == name

    def _collect(self, report: StepReport) -> None:
        """What became of the build beside the passes."""
        if self._beside is None or self._beside.of is None:
            return
        name = self._beside.of
        try:
            report.folded += bool(self._beside.outcome())
        except Exception as error:  # whatever it is: too little memory would end every pass, again and again
            self._rest(name, error)

    def _snapshot(self, name: str) -> Snapshot:
        known = self._snapshots.get(name)
        if known is None or (known.collection.id, known.collection.version) != self._catalog.version(name):
            known = self._snapshots[name] = self._catalog.snapshot(name)
        return known

    def _compact(self, snapshot: Snapshot, report: StepReport) -> None:
        collection = snapshot.collection
        if self._settled.get(collection.id) == collection.version:
            return
        rewritten = self._compaction.rewrite_dead(snapshot) or self._recoding.rewrite_one(snapshot)
        merged = 0 if rewritten else self._compaction.merge_small(snapshot)
        for features in self._catalog.other_feature_sets(collection.id):
            other = self._catalog.snapshot_of_set(features.id)
            if other is not None:
                gone = self._compaction.rewrite_dead(other)
                rewritten += gone
                merged += 0 if gone else self._compaction.merge_small(other)
        report.rewritten += rewritten
        report.merged += merged
        if not rewritten and not merged:
            self._settled[collection.id] = collection.version

    def _folded(self, snapshot: Snapshot, report: StepReport) -> bool:
        if self._folding.due(snapshot) is None:
            return False
        usable = self._folding.usable(snapshot)
        reason = None if usable is None else self._folding.due(usable)
        if usable is None or reason is None:
            return False
        name = snapshot.collection.name
        if self._beside is not None and self._folding.takes_long(usable):
            if self._beside.of is None:
                log.info("folding beside the passes: %s", reason, extra={"collection": name})
                self._beside.begin(name, partial(self._folding.fold, usable))
            return False
        log.info("folding: %s", reason, extra={"collection": name})
        folded = self._folding.fold(usable)
        report.folded += folded
        return folded

    def _clean(self, report: StepReport) -> None:
        """Not while a build writes files that nobody names yet."""
        if self._beside is not None and self._beside.of is not None:
            return
        if self._monotonic() - self._cleaned_at < self._settings.clean_seconds:
            return
        report.removed, report.released = self._cleaning.run()
        self._cleaned_at = self._monotonic()
