"""Files that nobody needs: of late workers, of unfinished writes, of what was replaced or deleted.

What the catalog itself let go (a retired segment, a replaced generation, the files of a deleted collection)
is deleted after its time of grace. What it does not know (a *stray*) is only set aside, and deleted a day
later. Nothing at all happens in a folder that another installation or another copy of this catalog works in,
or of which the catalog knows little. Ages are of the catalog, never of a file or of this machine's clock.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from sightline.errors import IndexUnavailableError, SightlineError
from sightline.faultpoint import faultpoint
from sightline.indexer.building.releasing import Releasing
from sightline.indexer.settings import BuilderSettings
from sightline.store.cascade_files import FOLDER, CascadeFiles
from sightline.store.codec_verdicts import CodecVerdicts
from sightline.store.own_files import SEGMENT_KIND, OwnFiles, Shelf, is_doubtful
from sightline.store.ownership import REMEDY, Place, census, claim_all, places_of, stamp, strange_stamps

if TYPE_CHECKING:
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)


class Cleaning:
    """Compares what is stored with the catalog, now and then."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        segments: SegmentReader,
        indexes: Indexes,
        settings: BuilderSettings,
        now: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._settings = settings
        self._places = places_of(catalog, segments.folder, indexes)
        self._releasing = Releasing(catalog, blobs, settings, now)
        self._learned = CascadeFiles(segments.folder)
        self._verdicts = CodecVerdicts(segments.folder)
        self._said: set[str] = set()

    def run(self) -> tuple[int, int]:
        """How many files were removed or set aside, and of how many pictures the copies were removed."""
        if not self._may_remove():
            return 0, 0
        for learned in (self._learned, self._verdicts):
            learned.forget_others(self._existing)
        self._remove_begun()
        tended = sum(self._tended(place, shelf) for place in self._places for shelf in place.shelves)
        return tended, self._releasing.run()

    def _existing(self) -> set[int]:
        return {one.id for one in self._catalog.collections(trashed=True)}

    def _remove_begun(self) -> None:
        """What writers of cascades and samples began and did not end."""
        files = self._learned.unfinished()
        old = self._catalog.observe_files(FOLDER, "unfinished", set(files), self._settings.orphan_seconds)
        for name in old:
            files[name].unlink(missing_ok=True)
        self._catalog.forget_files(old)

    def _may_remove(self) -> bool:
        """Whether the folders are this installation's, and no other copy of its catalog cleans them."""
        try:
            places = [place for place in self._places if place.folder.is_dir()]
            claim_all(places, self._catalog.installation_id())
            stamps = self._catalog.stamps()
            strange = strange_stamps(places, stamps.known)
            if not strange:
                self._stamp(places, stamps.next)
        except (SightlineError, OSError) as error:
            self._say(str(error))
            return False
        for folder in strange:
            self._say(
                f"The folder {folder} was cleaned for another copy of this catalog, or for a later state of "
                f"it, so nothing is removed from it: {REMEDY}."
            )
        return not strange

    def _stamp(self, places: Sequence[Place], text: str) -> None:
        """On a full disk the old one stays: who removes files makes room."""
        try:
            stamp(places, text)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        else:
            self._catalog.stamped(text)

    def _tended(self, place: Place, shelf: Shelf) -> int:
        """One shelf's trouble holds up no other."""
        try:
            return self._tend(place, shelf)
        except (OSError, IndexUnavailableError) as error:
            log.warning("%s", error)
            return 0

    def _tend(self, place: Place, shelf: Shelf) -> int:
        """Files are listed before the names are read: what is published meanwhile is named."""
        files, stored = shelf.files, shelf.files.stored()
        named = shelf.named()
        self._put_back(files, files.swept() & named)
        known = named | shelf.released()
        finished = {name for name in stored if files.is_finished(name)}
        if self._is_doubtful(place):
            return 0
        removed = self._remove_retired(files) if shelf.kind == SEGMENT_KIND else 0
        removed += self._remove_released(shelf) + self._remove_unfinished(shelf, stored - finished)
        return removed + self._sweep(shelf, finished - known)

    def _is_doubtful(self, place: Place) -> bool:
        """Of all kinds together: the first build of a kind may die before any file of it is named."""
        named, unnamed = census(place)
        doubtful = is_doubtful(named, unnamed)
        if doubtful:
            self._say(
                f"The catalog knows {named} of the {named + unnamed} files of ours in {place.folder}, so "
                "it may not be theirs, and nothing is removed: see `sightline doctor`."
            )
        return doubtful

    def _remove_retired(self, files: OwnFiles) -> int:
        """Replaced segments: first the file, then the row that names it."""
        before = self._catalog.now() - self._settings.retired_seconds
        retired = self._catalog.retired_segments(before)
        self._remove(files, [segment.file for segment in retired])
        faultpoint("clean.unlinked")
        if retired:
            self._catalog.forget_segments([segment.id for segment in retired])
            faultpoint("clean.forgotten")
        return len(retired)

    def _remove_released(self, shelf: Shelf) -> int:
        released = self._catalog.released_files(shelf.kind, self._settings.retired_seconds)
        self._remove(shelf.files, released)
        if released:
            self._catalog.forget_files(released)
        return len(released)

    def _remove(self, files: OwnFiles, names: Iterable[str]) -> None:
        for name in names:
            self._segments.forget(name)
            files.remove(name)

    def _remove_unfinished(self, shelf: Shelf, names: set[str]) -> int:
        """What writers began and did not end: no good to anybody, so they are not set aside first.

        Of a generation only the builder is the writer, and it may die of one large file again and again.
        """
        patience = self._settings.orphan_seconds
        if shelf.kind != SEGMENT_KIND:
            patience = min(patience, self._settings.retired_seconds)
        old = self._catalog.observe_files(shelf.kind, "unfinished", names, patience)
        self._remove(shelf.files, old)
        self._catalog.forget_files(old)
        return len(old)

    def _sweep(self, shelf: Shelf, strays: set[str]) -> int:
        """Set aside what was seen unnamed for long, delete what lies aside for long; how many of both.

        In SQL before in the folder: whoever publishes a stray meanwhile either finds that out, and writes it
        again, or keeps it from being set aside.
        """
        settings, files = self._settings, shelf.files
        old = self._catalog.observe_files(shelf.kind, "stray", strays, settings.orphan_seconds)
        going = self._catalog.sweep_files(old)
        faultpoint("clean.noted")
        for name in going:
            log.info("set aside a file that no row names", extra={"file": name, "kind": shelf.kind})
            self._segments.forget(name)
            files.set_aside(name)
            faultpoint("clean.aside")
        swept = self._catalog.observe_files(shelf.kind, "swept", files.swept(), settings.aside_seconds)
        self._delete(shelf, swept)
        return len(going) + len(swept)

    def _delete(self, shelf: Shelf, swept: list[str]) -> None:
        named = shelf.named() if swept else set()
        for name in swept:
            if name not in named:
                log.info("removed a file that no row names", extra={"file": name, "kind": shelf.kind})
                shelf.files.remove_swept(name)
                faultpoint("clean.deleted")
        self._catalog.forget_files(swept)

    def _put_back(self, files: OwnFiles, names: set[str]) -> None:
        """The catalog was restored to a state that names them, or a builder died at the wrong moment."""
        for name in sorted(names):
            log.warning("put back a file that a row names", extra={"file": name})
            files.put_back(name)
        self._catalog.forget_files(names)

    def _say(self, sentence: str) -> None:
        """Once for each builder: what is wrong stays so until somebody looks."""
        if sentence not in self._said:
            self._said.add(sentence)
            log.error("%s", sentence)
