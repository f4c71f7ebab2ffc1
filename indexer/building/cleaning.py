"""Files that nobody needs any more: late workers' segments, unfinished writes, what was replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.indexer.settings import BuilderSettings

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)


class Cleaning:
    """Compares what is stored with the catalog, and looks only at what is old enough to be nobody's."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        indexes: Indexes,
        settings: BuilderSettings,
        now: Callable[[], float],
    ) -> None:
        self._catalog = catalog
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
        if retired:
            self._catalog.forget_segments([segment.id for segment in retired])
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
