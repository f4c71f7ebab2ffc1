"""Copied originals and thumbnails that no image has any more."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from sightline.errors import SightlineError
from sightline.faultpoint import faultpoint
from sightline.indexer.settings import BuilderSettings
from sightline.store.own_files import is_doubtful

if TYPE_CHECKING:
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog

log = logging.getLogger(__name__)

RELEASED_AT_ONCE = 1000
"""Originals that one pass removes, at most."""
LISTED_AT_ONCE = 10_000
ORIGINAL = "original"
"""The kind of what writers of originals left unfinished."""
LISTING = "listing of the originals"
LISTING_SECONDS = 86_400.0
"""How often all originals are listed, for those that nobody ever named."""


class Releasing:
    """Removes bytes from the store that is this installation's alone, when a time of grace is in force."""

    def __init__(
        self, catalog: Catalog, blobs: BlobStore, settings: BuilderSettings, now: Callable[[], float]
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._settings = settings
        self._now = now
        self._said: set[str] = set()

    def run(self) -> int:
        """Of how many pictures the bytes were removed. What cannot be removed now is tried again."""
        removed: list[str] = []
        moment = self._catalog.now()
        before = moment - (self._settings.released_seconds or 0.0)
        # A file that was kept a moment ago may be for a row that is not written yet, however short the grace.
        # The clock that is behind decides what a moment is.
        kept_before = min(before, min(moment, self._now()) - self._settings.orphan_seconds)
        try:
            self._tidy()
            if self._settings.released_seconds is None or not self._is_alone():
                return 0
            self._note_unnamed()
            for sha256 in self._catalog.releasable_blobs(before, RELEASED_AT_ONCE):
                if self._remove(sha256, kept_before):
                    removed.append(sha256)
                    faultpoint("release.removed")
        except (SightlineError, OSError) as error:  # the store cannot be reached
            log.warning("%s", error)
        self._catalog.forget_blobs(removed, before)
        if removed:
            log.info("removed originals and thumbnails of deleted pictures", extra={"pictures": len(removed)})
        return len(removed)

    def _tidy(self) -> None:
        """What dead processes left: removals that did not end are undone, unfinished files go."""
        self._blobs.put_back_taken()
        names = self._blobs.unfinished()
        old = self._catalog.observe_files(ORIGINAL, "unfinished", names, self._settings.orphan_seconds)
        for name in old:
            self._blobs.drop_unfinished(name)
        self._catalog.forget_files(old)

    def _is_alone(self) -> bool:
        """Whether nobody else keeps bytes there: they may be those of another one's pictures."""
        installation = self._catalog.installation_id()
        self._blobs.claim(installation)
        others = self._blobs.owners() - {installation}
        if others:
            self._say(
                f"The originals lie where the installation {min(others)[:12]} keeps some too, so none is "
                "removed, whatever SIGHTLINE_BUILDER__RELEASED_SECONDS says."
            )
        return not others

    def _note_unnamed(self) -> None:
        """Bytes whose row never came (a job was cancelled, a process killed) are released, once a day.

        Only in our own folder, and unless there are so many that the catalog may not be theirs.
        """
        if not self._blobs.is_part_of(self._catalog.installation_id()):
            return
        if not self._catalog.acquire_singleton(LISTING, uuid.uuid4().hex, LISTING_SECONDS):
            return
        named = 0
        unnamed: list[str] = []
        listed = iter(self._blobs)
        while shas := list(islice(listed, LISTED_AT_ONCE)):
            found = self._catalog.unnamed_blobs(shas)
            named += len(shas) - len(found)
            unnamed += found
        if is_doubtful(named, len(unnamed)):
            self._say(
                f"The catalog knows {named} of the {named + len(unnamed)} originals, so it may not be "
                "theirs, and the others stay."
            )
        else:
            self._catalog.release_blobs(unnamed)

    def _remove(self, sha256: str, kept_before: float) -> bool:
        try:
            return self._blobs.remove_released(
                sha256, kept_before, partial(self._catalog.is_referenced, sha256)
            )
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:  # this file's own trouble; the others go
            log.warning("%s", error)
            return False

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            log.error("%s", sentence)
