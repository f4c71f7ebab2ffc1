"""Originals and thumbnails by the SHA-256 of the original.

``originals/ab/<sha>`` and ``thumbnails/ab/<sha>.webp``. A thumbnail ends with a seal that is no part of the
picture (`sightline.store.thumbnail_seal`).

In a local folder every file appears whole or not at all and survives a power cut: written aside, fsynced,
renamed, folder fsynced. Any other fsspec file system gets one plain write for each file, which object stores
make atomic.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from sightline.errors import CorruptionError, NotFoundError
from sightline.faultpoint import faultpoint
from sightline.store.blob_files import Files, LocalFiles, pieces_of
from sightline.store.blob_files_remote import RemoteFiles
from sightline.store.ownership import MARKER, Marker, marker_text, read_marker
from sightline.store.thumbnail_seal import opened, sealed

if TYPE_CHECKING:
    from os import PathLike

ORIGINALS: Final = "originals"
SHARED: Final = "shared originals"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_OURS: Final = re.compile(r"originals/[0-9a-f]{2}/[0-9a-f]{64}|thumbnails/[0-9a-f]{2}/[0-9a-f]{64}\.webp")
_LOCAL_PREFIXES: Final = ("file://", "local://")
_ERASING_TRIES: Final = 10
_UNFINISHED_SECONDS: Final = 60.0
"""A file aside that was not written to for so long has no writer any more."""


class BlobStore:
    """Thread-safe and process-safe: a blob never changes, so writing it twice is writing it once.

    Every method that takes a SHA-256 raises NotFoundError when it is no SHA-256 in lower-case hex, so that an
    address from outside cannot name any other file.
    """

    def __init__(self, url: str | PathLike[str]) -> None:
        self._files = _files_of(str(url))

    # --- originals -----------------------------------------------------------------------------------------

    def put(self, data: bytes) -> str:
        """Keep ``data``; its SHA-256. From now on it is new to ``remove_released``.

        In a local folder what is there already is touched, and written again only when its bytes differ (a
        disk rots); elsewhere it is always written.
        """
        return self.put_file(BytesIO(data))

    def put_file(self, file: BinaryIO) -> str:
        """As `put`, with all that is in a seekable file, a piece of it in memory at a time."""
        sha256 = sha256_of(file)
        self._files.keep(_original(sha256), file)
        faultpoint("original.kept")
        return sha256

    def get(self, sha256: str) -> bytes:
        """The whole original, as it lies there. Raises NotFoundError."""
        return self._read(_original(sha256), f"The original {sha256} is not in the store.")

    def open(self, sha256: str) -> BinaryIO:
        """The original, as it lies there, to be read piece by piece. Raises NotFoundError."""
        try:
            return self._files.open(_original(sha256))
        except FileNotFoundError:
            raise NotFoundError(f"The original {sha256} is not in the store.") from None

    def get_sound(self, sha256: str) -> bytes:
        """As `get`, compared with its SHA-256. Raises NotFoundError or CorruptionError."""
        data = self.get(sha256)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CorruptionError(f"The original {sha256} is not what was stored: its SHA-256 differs.")
        return data

    def has(self, sha256: str) -> bool:
        """Whether the original is there."""
        return self._files.size(_original(sha256)) is not None

    def size(self, sha256: str) -> int:
        """Bytes of the original. Raises NotFoundError."""
        size = self._files.size(_original(sha256))
        if size is None:
            raise NotFoundError(f"The original {sha256} is not in the store.")
        return size

    def __iter__(self) -> Iterator[str]:
        """The SHA-256 of every original, in no particular order, without holding them all."""
        return (name for name in self._files.names("originals") if _SHA256.fullmatch(name))

    # --- thumbnails ----------------------------------------------------------------------------------------

    def put_thumbnail(self, sha256: str, data: bytes) -> None:
        """Keep the WebP thumbnail of the original ``sha256``, in place of any earlier one."""
        self._files.write(_thumbnail(sha256), sealed(data, sha256))
        faultpoint("thumbnail.kept")

    def get_thumbnail(self, sha256: str) -> bytes:
        """The thumbnail of the original ``sha256``. Raises NotFoundError, CorruptionError when damaged."""
        path = _thumbnail(sha256)
        return opened(self._read(path, f"There is no thumbnail of {sha256} in the store."), sha256)

    def has_thumbnail(self, sha256: str) -> bool:
        """Whether the thumbnail is there."""
        return self._files.size(_thumbnail(sha256)) is not None

    def thumbnails(self) -> Iterator[str]:
        """The SHA-256 of every original that has a thumbnail."""
        names = (name.removesuffix(".webp") for name in self._files.names("thumbnails"))
        return (name for name in names if _SHA256.fullmatch(name))

    # --- housekeeping --------------------------------------------------------------------------------------

    def remove_released(self, sha256: str, before: float, is_referenced: Callable[[], bool]) -> bool:
        """Remove an original and its thumbnail that no row refers to; False when they stay.

        ``before`` (epoch seconds): an original that ``put`` met at that time or later stays, for the row that
        is to refer to it may not be written yet. ``is_referenced`` asks the catalog, once both files are
        taken from their places. Whoever registers the same bytes at the same time puts them first, then
        writes the row; the thumbnail comes after the row. So, whenever that happens here:

        1. put, take, …: the file is young when it is taken: it goes back at once.
        2. take, put, …: there is nothing to touch, so put writes it anew; what was taken is not that file.
        3. put long ago, row before the question: ``is_referenced`` says so, and both go back.
        4. put long ago, row after the question: cannot be, as a row follows its put at once, and an original
           put less than the time of grace ago is young.
        5. row and thumbnail between the question and the end: they are new files, see 2.

        A process that dies in between leaves the files aside; ``put_back_taken`` undoes that.
        """
        original, thumbnail = _original(sha256), _thumbnail(sha256)
        taken = self._files.take(original, before)
        if taken == "young":
            return False
        self._files.take(thumbnail, None)
        faultpoint("release.taken")
        if is_referenced():
            self._files.put_back(original)
            self._files.put_back(thumbnail)
            return False
        faultpoint("release.asked")
        self._files.drop(thumbnail)
        return self._files.drop(original) or taken == "absent"

    def erase(self, sha256: str, is_referenced: Callable[[], bool]) -> bool:
        """Remove an original and its thumbnail at once, also what was taken or never finished of them.

        Nothing happens when ``is_referenced`` says that some row has these bytes. Whoever registers the same
        bytes meanwhile keeps them once more after the row: see `remove_released`. False: somebody brought
        them back again and again.
        """
        paths = (_original(sha256), _thumbnail(sha256))
        for _ in range(_ERASING_TRIES):
            for path in paths:
                self._files.take(path, None)
            if is_referenced():
                for path in paths:
                    self._files.put_back(path)
                return True
            for path in paths:
                self._files.drop_beginnings(path, time.time() - _UNFINISHED_SECONDS)
                self._files.drop(path)
            if all(self._files.size(path) is None for path in paths):  # no builder put back what was taken
                return True
        return False

    def put_back_taken(self) -> int:
        """Undo the removals that a process did not live to end; how many files. Call it before removing."""
        paths = [path for path in self._files.taken() if _OURS.fullmatch(path)]
        for path in paths:
            self._files.put_back(path)
        return len(paths)

    def unfinished(self) -> list[str]:
        """Names of what writers began and did not end, yet or ever."""
        return self._files.unfinished()

    def drop_unfinished(self, name: str) -> None:
        """Remove one of these, whose writer is gone."""
        self._files.drop_unfinished(name)

    # --- whose it is ---------------------------------------------------------------------------------------

    def owners(self) -> set[str]:
        """The installations that keep their bytes here."""
        notes = [name for name in self._files.top() if name.startswith(MARKER)]
        return {marker.installation for name in notes if (marker := self._marker(name)) is not None}

    def is_part_of(self, installation: str) -> bool:
        """Whether this is not a shared place, but one of the folders of that installation."""
        return self._marker(MARKER) == Marker(installation, ORIGINALS)

    def claim(self, installation: str) -> None:
        """This installation keeps bytes here from now on. Each leaves a note of its own, beside that of the
        first one, so that none overwrites another's.
        """
        if installation in self.owners():
            return
        note = marker_text(installation, SHARED)
        self._files.write(f"{MARKER}.{installation}", note)
        if MARKER not in self._files.top():
            self._files.write(MARKER, note)

    def _marker(self, name: str) -> Marker | None:
        try:
            return read_marker(self._files.read(name), "the originals")
        except FileNotFoundError:
            return None

    def _read(self, path: str, missing: str) -> bytes:
        try:
            return self._files.read(path)
        except FileNotFoundError:
            raise NotFoundError(missing) from None


def sha256_of(file: BinaryIO) -> str:
    """Of all that is in a seekable file, in lower-case hex."""
    digest = hashlib.sha256()
    for piece in pieces_of(file):
        digest.update(piece)
    return digest.hexdigest()


def _files_of(url: str) -> Files:
    for prefix in _LOCAL_PREFIXES:
        if url.startswith(prefix):
            return LocalFiles(Path(url.removeprefix(prefix)))
    if "://" in url or "::" in url:
        return RemoteFiles(url)
    return LocalFiles(Path(url).expanduser().absolute())


def _original(sha256: str) -> str:
    return f"originals/{_checked(sha256)[:2]}/{sha256}"


def _thumbnail(sha256: str) -> str:
    return f"thumbnails/{_checked(sha256)[:2]}/{sha256}.webp"


def _checked(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise NotFoundError(f"{sha256[:80]!r} is no SHA-256 in lower-case hex.")
    return sha256
