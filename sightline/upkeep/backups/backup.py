"""Backups of a whole installation while it works: one instant of the catalog, then every file that it names.

Files are immutable, so what the catalog of one instant names can be copied after it. Only the builder may
delete a file meanwhile, because a later catalog names another one instead: then a newer instant is taken, and
what is copied already stays.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sightline.errors import ConflictError, InputError, UnavailableError
from sightline.faultpoint import faultpoint
from sightline.indexer.heartbeat import Heartbeat
from sightline.indexer.names import worker_name
from sightline.store.migrate import HEAD
from sightline.store.places import LocalPlace, read_file
from sightline.store.portable import export_catalog
from sightline.upkeep.backups.contents import opened_contents
from sightline.upkeep.backups.copying import Copied, Copying
from sightline.upkeep.backups.points import Point, catalog_path, mark_place, name_of, write_point
from sightline.upkeep.backups.pruning import forget_old

if TYPE_CHECKING:
    from sightline.indexer.originals import Originals
    from sightline.store.blobs import BlobStore
    from sightline.store.catalog import Catalog
    from sightline.store.codec_files import CodecFiles
    from sightline.store.places import Place
    from sightline.types import OnProgress

LEASE: Final = "backup"
LEASE_SECONDS: Final = 15.0
"""How soon a backup can begin after another one died."""
LOOKS: Final = 5
"""Instants that are tried until all files of one are there."""
KEEP: Final = 7


@dataclass(frozen=True)
class BackedUp:
    """The new point, what had to be copied for it, and how many old points and files went."""

    point: Point
    files: int
    bytes: int
    forgotten: int
    removed: int


@dataclass(frozen=True)
class Wish:
    """How it is to be done."""

    with_originals: bool = False
    keep: int = KEEP
    """Points of this installation that stay."""
    lease_seconds: float = LEASE_SECONDS
    """How soon another backup may begin after this process died."""
    patience: float = LEASE_SECONDS + 1
    """How many seconds to wait for another backup, which may be a dead one."""


class Backup:
    """Copies one installation. One at a time."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        originals: Originals,
        segments: Path,
        codecs: CodecFiles,
        own_folders: tuple[Path, ...],
    ) -> None:
        """``own_folders``: of the installation; a backup inside of them would be lost with it."""
        self._catalog = catalog
        self._blobs = blobs
        self._originals = originals
        self._segments = segments
        self._codecs = codecs
        self._own_folders = own_folders

    def run(self, place: Place, wish: Wish | None = None, show: OnProgress | None = None) -> BackedUp:
        """Make a point. What the installation itself has lost is listed in it and fails nothing.

        Raises:
            ConflictError: another backup of this installation is running.
            InputError: the place lies inside of the installation, or ``keep`` is not positive.
            CatalogDamagedError: the catalog is damaged, so this would be no backup.
            UnavailableError: the place cannot be written to.
        """
        wish = wish or Wish()
        self._check(place, wish)
        with self._alone(wish) as heartbeat:
            try:
                mark_place(place, self._catalog.installation_id())
                point, copied = self._copy(place, wish, show)
                heartbeat.check()
                forgotten, removed = forget_old(place, point.installation, wish.keep)
            except OSError as error:
                said = error.strerror or error
                raise UnavailableError(
                    f"The backup cannot be written: {said}. The points before it are whole."
                ) from error
        return BackedUp(point, copied.files, copied.bytes, forgotten, removed)

    def _check(self, place: Place, wish: Wish) -> None:
        if wish.keep < 1:
            raise InputError("A backup keeps at least one point: give --keep 1 or more.")
        if not isinstance(place, LocalPlace):
            return
        for folder in self._own_folders:
            if place.root.resolve().is_relative_to(folder.resolve()):
                raise InputError(
                    f"The backup would lie inside of {folder} and be lost with it: name another place."
                )

    def _copy(self, place: Place, wish: Wish, show: OnProgress | None) -> tuple[Point, Copied]:
        """Instants until one is complete, or until two in a row miss the same files: those are lost."""
        before: tuple[str, ...] | None = None
        total = Copied()
        for look in range(LOOKS):
            made_at = self._catalog.now()
            with tempfile.TemporaryDirectory(prefix="sightline-") as folder:
                path = Path(folder) / "catalog.sqlite"
                export_catalog(self._catalog.database, path)
                faultpoint("backup.exported")
                copied = self._copy_files(place, path, wish, show)
                faultpoint("backup.copied")
                total.add(copied)
                missing = tuple(sorted(copied.missing))
                if not missing or missing == before or look == LOOKS - 1:
                    return self._point(place, path, made_at, wish, copied, missing), total
            before = missing
        raise AssertionError("unreachable: the last look returns")

    def _copy_files(self, place: Place, path: Path, wish: Wish, show: OnProgress | None) -> Copied:
        with opened_contents(path) as contents:
            copying = Copying(place, self._blobs, self._originals, self._segments, self._codecs, show)
            return copying.all_of(contents, with_originals=wish.with_originals)

    def _point(
        self, place: Place, path: Path, made_at: float, wish: Wish, copied: Copied, missing: tuple[str, ...]
    ) -> Point:
        """The catalog, and then the file that names it."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        place.put(catalog_path(sha256), read_file(path), sha256)
        with opened_contents(path) as contents:
            installation = contents.catalog.installation_id()
            collections = contents.catalog.count_collections()
        place.settle()
        point = Point(
            name=name_of(made_at, installation),
            made_at=made_at,
            installation=installation,
            database=self._catalog.database.engine.dialect.name,
            schema=HEAD,
            catalog=sha256,
            codecs=tuple(copied.codecs),
            with_originals=wish.with_originals,
            collections=collections,
            segments=copied.segments,
            originals=copied.originals,
            thumbnails=copied.thumbnails,
            references=copied.references,
            missing=missing,
        )
        write_point(place, point)
        faultpoint("backup.pointed")
        return point

    @contextmanager
    def _alone(self, wish: Wish) -> Iterator[Heartbeat]:
        """No other backup of this installation runs meanwhile, which might remove what this one relies on."""
        owner, lease = worker_name(), wish.lease_seconds
        until = time.monotonic() + wish.patience
        while not self._catalog.acquire_singleton(LEASE, owner, lease):
            if time.monotonic() > until:
                raise ConflictError("Another backup of this installation is running: wait for its end.")
            time.sleep(0.2)
        heartbeat = Heartbeat(
            lambda: self._catalog.renew_singleton(LEASE, owner, lease),
            lease=lease,
            interval=lease / 4,
            what="The lease of the backup",
        )
        try:
            with heartbeat:
                yield heartbeat
        finally:
            self._catalog.release_singleton(LEASE, owner)
