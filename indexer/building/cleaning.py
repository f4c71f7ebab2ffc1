"""Files that nobody needs any more: late workers' segments, unfinished writes, what was replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.indexer.settings import BuilderSettings

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)


class Cleaning:
    """Compares the two folders with the catalog. A file is looked at only once it is old enough to be
    nobody's.
    """

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        generations: Path,
        settings: BuilderSettings,
        now: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._generations = generations
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
        """Files that no row names. Listed before the rows are read, so what is published meanwhile is
        named.
        """
        replaced_or_lost = min(self._settings.orphan_seconds, self._settings.retired_seconds)
        segments = self._old_files(self._segments.folder, self._settings.orphan_seconds)
        generations = self._old_files(self._generations, replaced_or_lost)
        orphans = _unnamed(segments, self._catalog.segment_files)
        orphans += _unnamed(generations, self._catalog.generation_files)
        for path in orphans:
            log.info("removed a file that no row names", extra={"file": path.name})
            path.unlink(missing_ok=True)
        return len(orphans)

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
