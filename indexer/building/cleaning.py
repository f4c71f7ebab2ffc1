"""Files that nobody needs: of late workers, of unfinished writes, of what was replaced or deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.errors import SightlineError
from sightline.faultpoint import faultpoint
from sightline.indexer.settings import BuilderSettings

if TYPE_CHECKING:
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)


RELEASED_AT_ONCE = 1000
"""Originals that one pass removes, at most."""


class Cleaning:
    """Compares what is stored with the catalog. A file is looked at once it is old enough to be nobody's."""

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
        self._blobs = blobs
        self._segments = segments
        self._indexes = indexes
        self._settings = settings
        self._now = now

    def remove_retired(self) -> int:
        """Replaced segments after their time of grace: first the file, then the row that names it."""
        retired = self._catalog.retired_segments(self._now() - self._settings.retired_seconds)
        for segment in retired:
            self._segments.forget(segment.file)
            (self._segments.folder / segment.file).unlink(missing_ok=True)
            faultpoint("clean.unlinked")
        if retired:
            self._catalog.forget_segments([segment.id for segment in retired])
            faultpoint("clean.forgotten")
        return len(retired)

    def remove_orphans(self) -> int:
        """Files that no row names. Listed before the rows are read: what is published meanwhile is named."""
        segments = self._old_files(self._segments.folder, self._settings.orphan_seconds)
        orphans = _unnamed(segments, self._catalog.segment_files)
        for path in orphans:
            log.info("removed a file that no row names", extra={"file": path.name})
            path.unlink(missing_ok=True)
        return len(orphans) + self._remove_generations()

    def _remove_generations(self) -> int:
        """Those that were replaced, lost or never finished."""
        age = min(self._settings.orphan_seconds, self._settings.retired_seconds)
        removed: set[str] = set()
        for kind, backend in self._indexes.backends.items():
            stored = backend.stored(self._now() - age)
            # Kinds may share a folder: what one of them removed is not there for the next.
            unnamed = stored - self._catalog.generation_files() if stored else stored
            for file in sorted(unnamed):
                log.info("removed a generation that no row names", extra={"file": file, "kind": kind})
                backend.remove(file)
            removed |= unnamed
        return len(removed)

    def remove_released(self) -> int:
        """Originals and thumbnails that no image has any more, after their time of grace; how many.

        First the files, then the row that says that they are released: only hashes that this catalog once
        held are named, so nothing else in the folder can go. What cannot be removed now is tried again.
        """
        if self._settings.released_seconds is None:
            return 0
        before = self._now() - self._settings.released_seconds
        # A file that was kept a moment ago may be for a row that is not written yet, however short the grace.
        kept_before = min(before, self._now() - self._settings.orphan_seconds)
        removed: list[str] = []
        try:
            self._blobs.put_back_taken()
            self._blobs.clean(self._settings.orphan_seconds)
            for sha256 in self._catalog.releasable_blobs(before, RELEASED_AT_ONCE):
                if self._remove_blob(sha256, kept_before):
                    removed.append(sha256)
                    faultpoint("release.removed")
        except (SightlineError, OSError) as error:  # the store cannot be reached
            log.warning("%s", error)
        self._catalog.forget_blobs(removed, before)
        if removed:
            log.info("removed originals and thumbnails of deleted pictures", extra={"pictures": len(removed)})
        return len(removed)

    def _remove_blob(self, sha256: str, kept_before: float) -> bool:
        try:
            return self._blobs.remove_released(
                sha256, kept_before, partial(self._catalog.is_referenced, sha256)
            )
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:  # this file's own trouble; the others go
            log.warning("%s", error)
            return False

    def _old_files(self, folder: Path, seconds: float) -> list[Path]:
        if not folder.is_dir():
            return []
        horizon = self._now() - seconds
        return [path for path in folder.iterdir() if path.is_file() and path.stat().st_mtime <= horizon]


def _unnamed(paths: list[Path], names: Callable[[], set[str]]) -> list[Path]:
    if not paths:
        return []
    named = names()
    return [path for path in paths if path.name not in named]
