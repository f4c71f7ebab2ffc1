"""Whether a backup can be restored: every file of a point, read and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError, NotFoundError
from sightline.store.thumbnail_seal import opened
from sightline.upkeep.backups.contents import (
    codec_path,
    fetched_catalog,
    opened_contents,
    original_path,
    segment_path,
    thumbnail_path,
)
from sightline.upkeep.backups.points import read_point

if TYPE_CHECKING:
    from sightline.store.places import Place
    from sightline.types import OnProgress
    from sightline.upkeep.backups.contents import Contents
    from sightline.upkeep.backups.points import Point


@dataclass(frozen=True)
class Checked:
    """The point, how many files were read, and what is wrong with some of them. What the installation had
    lost before the backup is in ``point.missing`` and not wrong here.
    """

    point: Point
    files: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class NamedFile:
    """One file of a point. ``thumbnail_of``: the original's SHA-256, where it is a thumbnail."""

    path: str
    sha256: str = ""
    thumbnail_of: str = ""


def check(place: Place, name: str | None = None, show: OnProgress | None = None) -> Checked:
    """Read all of a point, or of the newest.

    Raises:
        NotFoundError, CorruptionError: there is no such point, or its catalog is not what was written.
    """
    point = read_point(place, name)
    lost = {said.partition(":")[0] for said in point.missing}
    problems: list[str] = []
    files = 1
    with fetched_catalog(place, point.catalog) as path, opened_contents(path) as contents:
        problems += contents.catalog.damages() + contents.catalog.check()
        total = point.segments + point.originals + point.thumbnails + len(point.codecs)
        for file in named_files(point, contents):
            if file.path in lost:
                continue
            try:
                read_named(place, file)
            except (NotFoundError, CorruptionError) as error:
                problems.append(str(error))
            files += 1
            if show is not None and files % 64 == 0:
                show("backup", files, total)
    return Checked(point, files, tuple(problems))


def named_files(point: Point, contents: Contents) -> Iterator[NamedFile]:
    """All that a point consists of, but for its catalog: codecs before the segments that need them."""
    for entry in point.codecs:
        yield NamedFile(codec_path(entry.fingerprint, entry.codec), entry.sha256)
    for segment in contents.segments():
        yield NamedFile(segment_path(segment.file), segment.sha256)
    for holders in contents.pictures():
        sha256 = holders[0].sha256
        if point.with_originals or any(holder.stored for holder in holders):
            yield NamedFile(original_path(sha256), sha256)
        if any(holder.state in ("live", "trashed") for holder in holders):
            yield NamedFile(thumbnail_path(sha256), thumbnail_of=sha256)


def read_named(place: Place, file: NamedFile) -> None:
    """Compare it, in bounded memory. Raises NotFoundError or CorruptionError."""
    try:
        if file.thumbnail_of:
            opened(b"".join(place.chunks(file.path)), file.thumbnail_of)
            return
        digest = hashlib.sha256()
        for chunk in place.chunks(file.path):
            digest.update(chunk)
    except FileNotFoundError as error:
        raise NotFoundError(f"The file {file.path} of the backup is missing.") from error
    except OSError as error:
        raise CorruptionError(f"The file {file.path} of the backup cannot be read: {error}.") from error
    if digest.hexdigest() != file.sha256:
        raise CorruptionError(f"The file {file.path} of the backup is not what was written.")
