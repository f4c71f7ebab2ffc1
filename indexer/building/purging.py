"""Pictures that leave no trace: out of SQL, segments, generations, originals and thumbnails, at once.

The first transaction makes them unfindable and writes down what is to be done. What follows may be done by
anybody, any number of times, beside a builder: every step looks at what is there, and what is published is
checked against what it was based on. So a purge that was killed is ended by the builder, or by the next one.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.errors import ConflictError, CorruptionError, SightlineError, UnavailableError
from sightline.indexer.building.compaction import Compaction
from sightline.indexer.building.folding import Folding
from sightline.store.ownership import places_of, require_own

if TYPE_CHECKING:
    from sightline.indexer.settings import BuilderSettings
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.filters import Filter
    from sightline.store.index import Indexes
    from sightline.store.records import Snapshot
    from sightline.store.segments import SegmentReader
    from sightline.store.trash_records import Purge

log = logging.getLogger(__name__)

AT_ONCE: Final = 10_000
"""Pictures whose traces are looked for together."""
TRIES: Final = 20
"""How often a builder may come first, before this gives up for now."""
LOG_SECONDS: Final = 10.0
"""How long readers may keep the old pages of SQLite."""
FOREVER: Final = float("inf")


class Purging:
    """Erases pictures. What the user's own folders hold is never touched."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        segments: SegmentReader,
        indexes: Indexes,
        settings: BuilderSettings,
        monotonic: Callable[[], float] = time.monotonic,
        pause_seconds: float = 0.05,
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._segments = segments
        self._indexes = indexes
        self._places = places_of(catalog, segments.folder, indexes)
        self._compaction = Compaction(catalog, segments, settings)
        self._folding = Folding(catalog, segments, indexes, settings, monotonic)
        self._pause = pause_seconds

    def images(
        self, collection: str, ids: Sequence[str] | None = None, filter: Filter | None = None
    ) -> set[str]:
        """Erase images in all their versions; the ids that there were. A filter speaks of live images.

        Raises:
            NotFoundError: no such collection.
            ConflictError: builders came first again and again; or what `finish` raises. Nothing finds the
                images any more, and the builder erases them.
        """
        collection_id = self._catalog.collection(collection).id
        gone = self._catalog.begin_purge(collection_id, ids, filter)
        self.finish()
        return gone

    def trash(self, collection: str, ids: Sequence[str] | None = None) -> set[str]:
        """Erase what is in the trash of a collection, of these ids or all. Raises as `images`."""
        collection_id = self._catalog.collection(collection).id
        gone = self._catalog.begin_purge(collection_id, ids, only_trashed=True)
        self.finish()
        return gone

    def collection(self, name: str) -> None:
        """Erase a whole collection. Raises as `images`."""
        self._catalog.begin_collection_purge(self._catalog.collection(name).id)
        self.finish()

    def trashed_collection(self, name: str) -> None:
        """Erase a deleted collection; its name, or its id in the trash. Raises as `images`."""
        self._catalog.begin_trashed_purge(name)
        self.finish()

    def finish(self, *, early: bool = True) -> int:
        """Erase whatever a purge has begun with; how many pictures are through. What cannot be erased now
        keeps no other collection waiting, and is raised at the end.

        ``early``: also those of which a worker may still write something; they are looked at again later.

        Raises:
            CorruptionError, NotFoundError: a segment cannot be rewritten now.
            ConflictError: likewise; or the folders are another installation's, or another copy's of this
                catalog, whose pictures may have the same keys.
            UnavailableError: others keep old pages of the catalog in use.
        """
        now, after, done = self._catalog.now(), 0, 0
        checked, failed = False, None
        while purges := self._catalog.outstanding_purges(FOREVER if early else now, after, AT_ONCE):
            if not checked:
                require_own(self._places, self._catalog)
                checked = True
            after = purges[-1].key
            erased, failure = self._erased(purges)
            failed = failed or failure
            through = [purge.key for purge in erased if purge.until <= now]
            self._catalog.forget_purges(through)
            done += len(through)
        if done:
            self._catalog.forget_old_pages(LOG_SECONDS)  # now the SHA-256 by which the files were found, too
            log.info("purged pictures", extra={"pictures": done})
        if failed is not None:
            raise failed
        return done

    def _erased(self, purges: Sequence[Purge]) -> tuple[list[Purge], SightlineError | OSError | None]:
        """Those of which nothing is left, and what kept the others: one collection's trouble is its own."""
        erased: list[Purge] = []
        failed: SightlineError | OSError | None = None
        for collection_id in sorted({purge.collection_id for purge in purges}):
            some = [purge for purge in purges if purge.collection_id == collection_id]
            try:
                self._erase(collection_id, some)
            except (SightlineError, OSError) as error:
                failed = failed or error
            else:
                erased += some
        if erased and not self._catalog.forget_old_pages(LOG_SECONDS):
            raise UnavailableError(
                "The pictures are erased, but others kept old pages of the catalog in use; "
                "the builder empties them, or another purge."
            )
        return erased, failed

    def _erase(self, collection_id: int, purges: Sequence[Purge]) -> None:
        """Of one collection: in an order in which no step brings back what another one erased."""
        keys = [purge.key for purge in purges]
        self._rewrite(collection_id, keys)
        gone = np.array(keys, np.int64)
        self._segments.erase(gone)
        for backend in self._indexes.backends.values():
            backend.erase(gone)
        for sha256 in sorted({purge.sha256 for purge in purges} - {""}):
            if not self._blobs.erase(sha256, partial(self._catalog.is_referenced, sha256)):
                raise ConflictError(
                    "An original is brought back again and again; the builder erases it later."
                )
        self._catalog.scrub_purged(keys)

    def _rewrite(self, collection_id: int, keys: Sequence[int]) -> None:
        """Segments and generations of a collection without these keys, which are gone in the catalog."""
        for tried in range(TRIES):
            if not self._catalog.are_placed(keys) or self._rewritten(collection_id, keys):
                return
            time.sleep(random.uniform(0.0, self._pause * tried))
        raise ConflictError(
            "The pictures are not found any more, but the builder kept their files busy; "
            "it erases them soon, or another purge does."
        )

    def _rewritten(self, collection_id: int, keys: Sequence[int]) -> bool:
        """Whether none of the keys is placed anywhere any more."""
        snapshot = self._catalog.snapshot_of(collection_id)
        if snapshot is None:
            return True
        for segment in self._catalog.holding_segments(collection_id, keys):
            if not self._compaction.drop_gone(snapshot, segment):
                return False
        if not self._catalog.are_placed(keys):
            return True
        snapshot = self._catalog.snapshot_of(collection_id)
        if snapshot is None:
            return True
        if snapshot.segments:
            self._fold(snapshot)
        else:
            self._catalog.drop_generation(collection_id, snapshot.collection.feature_set_id)
        return not self._catalog.are_placed(keys)

    def _fold(self, snapshot: Snapshot) -> None:
        """Not without a damaged segment: its images could not be mended any more."""
        usable = self._folding.usable(snapshot)
        if usable is None:
            raise CorruptionError(
                "The pictures are not found any more, but another segment of their collection is damaged, "
                "and its index is needed to mend it: `sightline doctor --repair`; then the builder erases "
                "them."
            )
        self._folding.fold(usable)
