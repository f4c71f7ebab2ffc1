"""What a blob store needs of a file system, and a local folder that does it."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, Final, Literal, Protocol

from sightline.faultpoint import faultpoint
from sightline.store.durable import sync_folder
from sightline.store.storage import writing

Taken = Literal["taken", "absent", "young"]
"""What came of taking a file: it is aside now, there was none, or it stays because it is too new."""
_UNFINISHED: Final = re.compile(r"[0-9a-f]{32}")
PIECE: Final = 1 << 20
"""Bytes of a file that are in memory at a time."""
TAKEN = "taken"
"""The folder in which files stand that were taken and not yet dropped, under their own paths."""


class Files(Protocol):
    """Whole files by their relative POSIX path. A missing one is a FileNotFoundError, or None as a size.

    A file is removed in two steps, so that the decision can be taken back: ``take`` it from its path, then
    ``drop`` it or ``put_back``. ``keep`` and ``take`` agree on who wins: see BlobStore.
    """

    def write(self, path: str, data: bytes) -> None: ...

    def keep(self, path: str, file: BinaryIO) -> None:
        """The file is there when this returns, and new to whoever would take it from now on."""

    def take(self, path: str, before: float | None) -> Taken:
        """Take it from its path, unless it was written or kept at ``before`` (epoch seconds) or later."""

    def put_back(self, path: str) -> None:
        """To its path, as new."""

    def drop(self, path: str) -> bool:
        """Whether it was still there: somebody else may have put it back."""

    def drop_beginnings(self, path: str, before: float) -> None:
        """Remove what writers of a file that was taken left behind before that time (epoch seconds)."""

    def taken(self) -> Iterator[str]:
        """The paths of files that somebody took and neither dropped nor put back."""

    def read(self, path: str) -> bytes: ...

    def open(self, path: str) -> BinaryIO: ...

    def size(self, path: str) -> int | None: ...

    def names(self, folder: str) -> Iterator[str]: ...

    def top(self) -> list[str]:
        """Names of what lies at the root itself."""

    def unfinished(self) -> list[str]:
        """Names of what writers began and did not end, yet or ever."""

    def drop_unfinished(self, name: str) -> None: ...


class LocalFiles:
    """A folder on a POSIX file system, created with the first write."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._aside = root / "aside"

    def write(self, path: str, data: bytes) -> None:
        """Atomic and durable; a name of its own aside, so that several writers of one path do not meet."""
        with writing(self._root):
            self._write(path, (data,))

    def _write(self, path: str, pieces: Iterable[bytes]) -> None:
        target = self._root / path
        aside = self._aside / uuid.uuid4().hex
        self._make_folder(target.parent)
        self._aside.mkdir(exist_ok=True)
        try:
            with aside.open("xb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            faultpoint("blob.aside")
            aside.rename(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        faultpoint("blob.renamed")
        sync_folder(target.parent)

    def read(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def open(self, path: str) -> BinaryIO:
        return (self._root / path).open("rb")

    def size(self, path: str) -> int | None:
        try:
            return (self._root / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def keep(self, path: str, file: BinaryIO) -> None:
        """Touch the file; write it when there is none (any more), it is another user's or holds other bytes.

        Its bytes are compared, not its size: the same address means the same content, and disks rot.
        """
        if not _touched(self._root / path) or not self._holds(path, file):
            with writing(self._root):
                self._write(path, pieces_of(file))

    def _holds(self, path: str, file: BinaryIO) -> bool:
        """Whether it has the same bytes; one that cannot be read does not."""
        if self.size(path) != file.seek(0, os.SEEK_END):
            return False
        try:
            with self.open(path) as kept:
                return all(mine == theirs for mine, theirs in zip_longest(pieces_of(kept), pieces_of(file)))
        except OSError:
            return False

    def take(self, path: str, before: float | None) -> Taken:
        """By a rename: a ``keep`` comes before it (then the file is young) or misses the file, and writes."""
        target, aside = self._root / path, self._root / TAKEN / path
        try:
            if before is not None and target.stat().st_mtime >= before:
                return "young"  # asked again below, but this way no reader ever misses it
            aside.parent.mkdir(parents=True, exist_ok=True)
            target.rename(aside)
        except (FileNotFoundError, NotADirectoryError):
            return "absent"
        if before is not None and aside.stat().st_mtime >= before:
            self.put_back(path)
            return "young"
        return "taken"

    def put_back(self, path: str) -> None:
        """Over whatever was written there meanwhile: the same bytes. It is new then: that may have been kept
        for a row that is not written yet.
        """
        target, aside = self._root / path, self._root / TAKEN / path
        with suppress(FileNotFoundError):
            if not _touched(aside):
                self.write(path, aside.read_bytes())
                aside.unlink()
                return
            aside.rename(target)
            sync_folder(target.parent)

    def drop(self, path: str) -> bool:
        try:
            (self._root / TAKEN / path).unlink()
        except FileNotFoundError:
            return False
        return True

    def drop_beginnings(self, path: str, before: float) -> None:
        """Whatever lies aside and is a beginning of the taken file."""
        with suppress(FileNotFoundError):
            whole = (self._root / TAKEN / path).read_bytes()
            for entry in _entries(self._aside):
                with suppress(FileNotFoundError):
                    if entry.stat().st_mtime < before and whole.startswith(Path(entry.path).read_bytes()):
                        Path(entry.path).unlink()

    def taken(self) -> Iterator[str]:
        for folder in _entries(self._root / TAKEN):
            for fan in _entries(Path(folder.path)):
                yield from (f"{folder.name}/{fan.name}/{entry.name}" for entry in _entries(Path(fan.path)))

    def names(self, folder: str) -> Iterator[str]:
        """Base names below ``folder``, two levels deep."""
        for fan in _entries(self._root / folder):
            if fan.is_dir():
                yield from (entry.name for entry in _entries(Path(fan.path)))

    def top(self) -> list[str]:
        return [entry.name for entry in _entries(self._root)]

    def unfinished(self) -> list[str]:
        return [entry.name for entry in _entries(self._aside) if _UNFINISHED.fullmatch(entry.name)]

    def drop_unfinished(self, name: str) -> None:
        if _UNFINISHED.fullmatch(name):
            (self._aside / name).unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        """Create and make it durable; only the first blob of each fan-out folder pays for that."""
        if folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for parent in folder.parents[:3]:
            sync_folder(parent)


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """All that is in a seekable file, from its beginning."""
    file.seek(0)
    while piece := file.read(PIECE):
        yield piece


def _touched(path: Path) -> bool:
    """Whether it is there, and new from now on: only its owner may say so of a file."""
    try:
        os.utime(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False
    return True


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        return
