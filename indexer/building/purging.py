"""Pictures that leave no trace: out of SQL, segments, generations, originals and thumbnails, at once.

The first transaction makes them unfindable and writes down what is to be done. What follows may be done by
anybody, any number of times, beside a builder: every step looks at what is there, and what is published is
checked against what it was based on. So a purge that was killed is ended by the builder, or by the next one.
A segment in which images that are kept are damaged is not rewritten, as by nobody else: the copy would look
sound. (Features of a model that does not serve are forgotten then: they are made again.) Everything else is
erased at once, and the rest once a repair has made that segment again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from sightline.errors import ConflictError, CorruptionError, UnavailableError
from sightline.faultpoint import faultpoint
from sightline.indexer.building.compaction import Compaction
from sightline.indexer.building.folding import Folding
from sightline.indexer.building.kinds import Kinds, NoTexts, live_images
from sightline.indexer.settings import IndexSettings
from sightline.store.cascade_files import CascadeFiles
from sightline.store.durable import FileMissingError
from sightline.store.ownership import places_of, require_own

if TYPE_CHECKING:
    from sightline.indexer.settings import BuilderSettings
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.conditions import Filter
    from sightline.store.index import Indexes
    from sightline.store.records import Generation
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


class _IndexStaysError(CorruptionError):
    """No generation without the purged pictures can be built now."""


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
        index: IndexSettings | None = None,
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._segments = segments
        self._indexes = indexes
        self._places = places_of(catalog, segments.folder, indexes)
        self._compaction = Compaction(catalog, segments, settings)
        kinds = Kinds(indexes, index or IndexSettings(), NoTexts(), monotonic, partial(live_images, catalog))
        self._folding = Folding(catalog, segments, indexes, settings, monotonic, kinds)
        self._learned = CascadeFiles(segments.folder)
        self._pause = pause_seconds
        self._old_pages = True
        """Whether an earlier process may have died before it emptied the old pages of what was through."""

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
        faultpoint("purge.begun")
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
        """Erase whatever a purge has begun with; how many pictures are through.

        ``early``: also those of which a worker may still write something; they are looked at again later.

        Raises:
            CorruptionError: something of them stays in damaged files until a repair; all else is erased.
            ConflictError: builders came first again and again; or the folders are another installation's, or
                another copy's of this catalog, whose pictures may have the same keys.
            UnavailableError: others keep old pages of the catalog in use.
        """
        now, after, done = self._catalog.now(), 0, 0
        checked = False
        stuck: set[int] = set()
        while purges := self._catalog.outstanding_purges(FOREVER if early else now, after, AT_ONCE):
            if not checked:
                require_own(self._places, self._catalog)
                checked = True
            left = self._erase(purges)
            stuck |= left
            after = purges[-1].key
            through = [purge.key for purge in purges if purge.until <= now and purge.key not in left]
            self._catalog.forget_purges(through)
            done += len(through)
        if done or self._old_pages:
            self._catalog.forget_old_pages(LOG_SECONDS)  # now the SHA-256 by which the files were found, too
            self._old_pages = False
        if done:
            log.info("purged pictures", extra={"pictures": done})
        if stuck:
            raise CorruptionError(
                f"{len(stuck)} pictures are purged but for their rows in damaged files, which hold images "
                "that are kept, too: run `sightline doctor --repair`, and the builder erases these rows."
            )
        return done

    def _erase(self, purges: Sequence[Purge]) -> set[int]:
        """Everything of these pictures, in an order in which no step brings back what another one erased.

        Returns the keys that damaged files hold still.
        """
        stuck: set[int] = set()
        for collection_id in sorted({purge.collection_id for purge in purges}):
            keys = [purge.key for purge in purges if purge.collection_id == collection_id]
            stuck |= self._rewrite(collection_id, keys)
            self._learned.forget_samples(collection_id)
        faultpoint("purge.rewritten")
        # A file that is in use goes by nobody's key.
        gone = np.array([purge.key for purge in purges if purge.key not in stuck], np.int64)
        self._segments.erase(gone)
        for backend in self._indexes.backends.values():
            backend.erase(gone)
        for collection_id in {purge.collection_id for purge in purges}:
            # Once more: a search may have begun to learn from an open file meanwhile.
            self._learned.forget_samples(collection_id)
        faultpoint("purge.files")
        for sha256 in sorted({purge.sha256 for purge in purges} - {""}) if self._are_originals_ours() else ():
            if not self._blobs.erase(sha256, partial(self._catalog.is_referenced, sha256)):
                raise ConflictError(
                    "An original is brought back again and again; the builder erases it later."
                )
        faultpoint("purge.blobs")
        self._catalog.scrub_purged([purge.key for purge in purges])
        faultpoint("purge.scrubbed")
        if not self._catalog.forget_old_pages(LOG_SECONDS):
            raise UnavailableError(
                "The pictures are erased, but others kept old pages of the catalog in use; "
                "the builder empties them, or another purge."
            )
        return stuck

    def _are_originals_ours(self) -> bool:
        """Whether nobody else keeps bytes in the same place: they may be those of another one's pictures."""
        others = self._blobs.owners() - {self._catalog.installation_id()}
        if others:
            log.warning(
                "Originals and thumbnails stay where they are: the installation %s keeps some there, too, "
                "and may have the same pictures.",
                min(others)[:12],
            )
        return not others

    def _rewrite(self, collection_id: int, keys: Sequence[int]) -> set[int]:
        """Segments and generations of a collection without these keys, which are gone in the catalog.

        Returns those that damaged files hold still.
        """
        for tried in range(TRIES):
            try:
                if not self._may_be_held(collection_id, keys) or self._rewritten(collection_id, keys):
                    return set()
            except _IndexStaysError as error:
                log.warning("%s", error)
                # Which keys the hidden parts of an approximate index hold is not known: none is erased yet.
                return set(keys) if self._is_approximate(collection_id) else self._catalog.placed_keys(keys)
            except (CorruptionError, FileMissingError) as error:
                log.warning("%s", error)
                return self._catalog.placed_keys(keys)
            time.sleep(random.uniform(0.0, self._pause * tried))
        raise ConflictError(
            "The pictures are not found any more, but the builder kept their files busy; "
            "it erases them soon, or another purge does."
        )

    def _rewritten(self, collection_id: int, keys: Sequence[int]) -> bool:
        """Whether none of the keys is placed anywhere any more.

        CorruptionError, FileMissingError: of a segment that stays as it is; all others are without them.
        """
        damages: dict[int, CorruptionError | FileMissingError] = {}
        for segment in self._catalog.holding_segments(collection_id, keys):
            snapshot = self._catalog.snapshot_of_set(segment.feature_set_id)
            try:
                if snapshot is None or not self._compaction.drop_gone(snapshot, segment):
                    return False
            except (CorruptionError, FileMissingError) as error:
                if not self._catalog.forget_features(collection_id, segment.id):
                    damages[segment.id] = error
        if not self._may_be_held(collection_id, keys):
            return True
        if self._dropped(collection_id, keys, again=not damages):
            # Unless the builder replaced it meanwhile, and removed its file.
            for segment in self._catalog.holding_segments(collection_id, keys):
                if segment.id in damages:
                    raise damages[segment.id]
        return not self._catalog.placed_keys(keys)

    def _may_be_held(self, collection_id: int, keys: Sequence[int]) -> bool:
        """Whether a file may hold one of these keys; parts that are shared with older ones may hide it."""
        return bool(self._catalog.placed_keys(keys)) or self._is_approximate(collection_id)

    def _is_approximate(self, collection_id: int) -> bool:
        snapshot = self._catalog.snapshot_of(collection_id)
        serving = None if snapshot is None else snapshot.generation
        return serving is not None and not self._indexes.of(serving.kind).exact

    def _dropped(self, collection_id: int, keys: Sequence[int], *, again: bool) -> bool:
        try:
            return self._drop_from_index(collection_id, keys, again=again)
        except (CorruptionError, FileMissingError) as error:
            raise _IndexStaysError(str(error)) from error

    def _drop_from_index(self, collection_id: int, keys: Sequence[int], *, again: bool) -> bool:
        """Fold without these keys; False when the catalog has moved on meanwhile.

        ``again``: whether the generation seems to hold them or not, because the catalog says so.
        CorruptionError: the generation has to stay, because it alone still finds the images of a segment.
        """
        snapshot = self._catalog.snapshot_of(collection_id)
        if snapshot is None:
            return True
        if not snapshot.segments:
            return self._catalog.drop_generation(collection_id, snapshot.collection.feature_set_id)
        if not again and not self._is_indexed(snapshot.generation, keys):
            return True
        usable = self._folding.usable(snapshot)
        if usable is None:
            raise CorruptionError("The index holds purged pictures, and a segment under it is damaged.")
        return self._folding.fold(usable, without=keys)

    def _is_indexed(self, generation: Generation | None, keys: Sequence[int]) -> bool:
        """Whether a generation holds one of these keys, or may: it cannot be read, or hides some."""
        if generation is None:
            return False
        backend = self._indexes.of(generation.kind)
        if not backend.exact:
            return True
        try:
            found = backend.open(generation.file, generation.sha256).keys
        except (CorruptionError, FileMissingError):
            return True
        return bool(np.isin(found, np.fromiter(keys, np.int64)).any())
