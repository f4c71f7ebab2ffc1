"""A backup back into an installation: files first, the catalog last, so that whatever cuts it short leaves no
installation that looks whole; running it again goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sightline.errors import (
    CatalogDamagedError,
    ConflictError,
    CorruptionError,
    InputError,
    UnavailableError,
)
from sightline.faultpoint import faultpoint
from sightline.indexer.files import local_path, scheme_of
from sightline.indexer.queue.presence import builder_is_alive, worker_is_alive
from sightline.store.catalog import open_catalog
from sightline.store.catalog_lock import RUNNING
from sightline.store.durable import sync_folder, verify_file
from sightline.store.places import LocalPlace
from sightline.store.portable import point_to_store, prepare_catalog, sqlite_file
from sightline.store.thumbnail_seal import opened
from sightline.upkeep.backups.contents import (
    codec_path,
    fetched_catalog,
    opened_contents,
    original_path,
    segment_path,
    thumbnail_path,
)
from sightline.upkeep.backups.placing import put_catalog
from sightline.upkeep.backups.points import read_point

if TYPE_CHECKING:
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog_lock import CatalogLock
    from sightline.store.places import Place
    from sightline.store.sql.originals import Holder
    from sightline.types import OnProgress
    from sightline.upkeep.backups.contents import Contents
    from sightline.upkeep.backups.points import Point

UNFINISHED: Final = ".sightline-restore"
"""A file beside the segments while a restore is not over: with the point, and the id that is being made."""
SEGMENT_ENDING: Final = ".segment.safetensors"


@dataclass(frozen=True)
class Target:
    """The installation that is to be made: the URL of its catalog, its folders, its store of originals."""

    catalog_url: str
    catalog_lock: CatalogLock
    segments: Path
    generations: Path
    blobs: BlobStore


@dataclass
class Restored:
    """What was restored. ``missing``: what the backup itself does not have, or not whole."""

    point: Point
    installation: str = ""
    segments: int = 0
    originals: int = 0
    thumbnails: int = 0
    taken_in: int = 0
    """Originals that lay elsewhere, are not there now, and are in our store from now on."""
    missing: list[str] = field(default_factory=list)


class Restore:
    """Makes an installation from a point of a backup."""

    def __init__(self, target: Target, settle_in: Callable[[], None] = lambda: None) -> None:
        """``settle_in`` is called once the new catalog is in its place: its folders become its own."""
        self._target = target
        self._settle_in = settle_in

    def run(
        self, place: Place, name: str | None = None, *, replace: bool = False, show: OnProgress | None = None
    ) -> Restored:
        """Restore the named point, or the newest.

        ``replace``: into a place that is not empty. A SQLite catalog that is there stays beside the new one.

        Raises:
            NotFoundError, CorruptionError: there is no such point, or its catalog is not what was written.
            ConflictError: the place is not empty, or processes of its installation are running, or another
                restore.
            UnavailableError: it cannot be written to.
        """
        point = read_point(place, name)
        with self._target.catalog_lock.alone():
            return self._run(place, point, show, replace=replace)

    def _run(self, place: Place, point: Point, show: OnProgress | None, *, replace: bool) -> Restored:
        placed = None if replace else self._placed(point)
        if placed is not None:  # all but the end was done before
            self._settle_in()
            self._end()
            return Restored(point, placed)
        self._check_idle()
        if not replace:
            self._check_empty(point)
        restored = Restored(point)
        try:
            with fetched_catalog(place, point.catalog) as path:
                restored.installation = prepare_catalog(path)
                self._begin(point, restored.installation)
                faultpoint("restore.begun")
                self._files(place, point, path, restored, show)
                faultpoint("restore.filed")
                put_catalog(path, self._target.catalog_url, replace=replace)
                faultpoint("restore.placed")
                self._settle_in()
                self._end()
        except OSError as error:
            raise UnavailableError(
                f"The restore stopped: {error.strerror or error}. Run it again to go on."
            ) from error
        return restored

    # --- may it be? -------------------------------------------------------------------------------

    def _check_idle(self) -> None:
        """No process works on the catalog that is about to be replaced.

        Of a file the lock tells already. On a server leases do, of what works there and of work in hand.
        """
        file = sqlite_file(self._target.catalog_url)
        if file is not None and not file.exists():
            return
        with (
            suppress(CatalogDamagedError, InputError),
            closing(open_catalog(self._target.catalog_url)) as catalog,
        ):
            in_hand = catalog.backlog().leased if file is None else 0
            if worker_is_alive(catalog) or builder_is_alive(catalog) or in_hand:
                raise ConflictError(RUNNING)

    def _check_empty(self, point: Point) -> None:
        """The catalog has nothing that anybody could miss, and the folder no segments but of this restore."""
        again = "restore into an empty place, or give --replace to put the backup in its place"
        file = sqlite_file(self._target.catalog_url)
        if (file is None or file.exists()) and not self._is_unused():
            raise ConflictError(f"The catalog of this installation is not empty: {again}.")
        folder = self._target.segments
        if self._unfinished().get("point") == point.name or not folder.is_dir():
            return
        if any(path.name.endswith(SEGMENT_ENDING) for path in folder.iterdir()):
            raise ConflictError(f"The folder {folder} holds segments already: {again}.")

    def _is_unused(self) -> bool:
        try:
            with closing(open_catalog(self._target.catalog_url)) as catalog:
                return catalog.is_unused()
        except (CatalogDamagedError, InputError):  # damaged, or another program's
            return False

    def _unfinished(self) -> dict[str, str]:
        """What a restore that did not end wrote down of itself."""
        with suppress(OSError, ValueError):
            return dict(json.loads((self._target.segments / UNFINISHED).read_text()))
        return {}

    def _placed(self, point: Point) -> str | None:
        """The installation that a restore of this point has made already, but for its last step."""
        told = self._unfinished()
        file = sqlite_file(self._target.catalog_url)
        if told.get("point") != point.name or (file is not None and not file.exists()):
            return None
        with (
            suppress(CatalogDamagedError, InputError),
            closing(open_catalog(self._target.catalog_url)) as made,
        ):
            return told.get("installation") if made.installation_id() == told.get("installation") else None
        return None

    # --- the work ---------------------------------------------------------------------------------

    def _begin(self, point: Point, installation: str) -> None:
        self._target.segments.mkdir(parents=True, exist_ok=True)
        note = LocalPlace(self._target.segments)
        note.put(UNFINISHED, [json.dumps({"point": point.name, "installation": installation}).encode()])
        note.settle()

    def _end(self) -> None:
        """A note that a power cut brings back does no harm: so nothing that fails here fails the restore."""
        with suppress(OSError):
            (self._target.segments / UNFINISHED).unlink(missing_ok=True)
            sync_folder(self._target.segments)

    def _files(
        self, place: Place, point: Point, path: Path, restored: Restored, show: OnProgress | None
    ) -> None:
        folder = LocalPlace(self._target.segments)
        for entry in point.codecs:  # the oldest first: the newest shall be the newest again
            name = codec_path(entry.fingerprint, entry.codec)
            self._local(place, name, folder, name, entry.sha256, restored)
        with opened_contents(path) as contents:
            segments = contents.segments()
            for number, segment in enumerate(segments):
                source = segment_path(segment.file)
                restored.segments += self._local(
                    place, source, folder, segment.file, segment.sha256, restored
                )
                _tell(show, "segments", number + 1, len(segments))
            folder.settle()
            self._pictures(place, point, contents, restored, show)

    def _local(
        self, place: Place, source: str, folder: LocalPlace, target: str, sha256: str, restored: Restored
    ) -> bool:
        """One file beside or below the segments; what is there whole is left alone."""
        with suppress(CorruptionError, OSError):
            if (folder.root / target).exists():
                verify_file(folder.root / target, sha256)
                return True
        try:
            folder.put(target, place.chunks(source), sha256)
        except (FileNotFoundError, CorruptionError) as error:
            restored.missing.append(f"{source}: {error}")
            return False
        return True

    def _pictures(
        self, place: Place, point: Point, contents: Contents, restored: Restored, show: OnProgress | None
    ) -> None:
        total, done = contents.catalog.count_holders(), 0
        moved: dict[str, str] = {}
        for holders in contents.pictures():
            moved |= self._original(place, point, holders, restored)
            if any(holder.state in ("live", "trashed") for holder in holders):
                restored.thumbnails += self._thumbnail(place, holders[0].sha256, restored)
            done += len(holders)
            _tell(show, "originals", done, total)
        point_to_store(contents.catalog, moved)

    def _original(
        self, place: Place, point: Point, holders: tuple[Holder, ...], restored: Restored
    ) -> dict[str, str]:
        """Put it into the store; addresses that are to lead there from now on, with the SHA-256."""
        sha256 = holders[0].sha256
        stored = any(holder.stored for holder in holders)
        gone = [holder.uri for holder in holders if not holder.stored and not _lies_there(holder)]
        if not stored and not (point.with_originals and gone):
            return {}
        try:
            data = b"".join(place.chunks(original_path(sha256)))
        except FileNotFoundError as error:
            restored.missing.append(f"{original_path(sha256)}: {error}")
            return {}
        if self._target.blobs.put(data) != sha256:
            restored.missing.append(f"{original_path(sha256)}: it is not what was written.")
            return {}
        restored.originals += 1
        restored.taken_in += not stored
        return {} if stored else dict.fromkeys(gone, sha256)

    def _thumbnail(self, place: Place, sha256: str, restored: Restored) -> bool:
        try:
            picture = opened(b"".join(place.chunks(thumbnail_path(sha256))), sha256)
        except (FileNotFoundError, CorruptionError) as error:
            restored.missing.append(f"{thumbnail_path(sha256)}: {error}")
            return False
        self._target.blobs.put_thumbnail(sha256, picture)
        return True


def _lies_there(holder: Holder) -> bool:
    """Whether the original of an image that refers to a file is still there; others are not asked."""
    if scheme_of(holder.uri) not in (None, "file"):
        return True
    with suppress(OSError, ValueError):
        return os.stat(local_path(holder.uri)).st_size == holder.bytes
    return False


def _tell(show: OnProgress | None, stage: str, done: int, total: int) -> None:
    if show is not None:
        show(stage, done, total)
