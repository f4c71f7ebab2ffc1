"""Where backups lie: a local folder or any fsspec URL. A file appears whole and checked, or not at all.

Paths are relative POSIX paths. Nothing is read from a source twice: a file is compared with its SHA-256 while
it is copied, before it gets its name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from sightline.errors import CorruptionError, InputError
from sightline.store.durable import ASIDE, sync_folder
from sightline.store.remote import file_system, translated

if TYPE_CHECKING:
    from os import PathLike

CHUNK: Final = 1 << 20
_LOCAL: Final = ("file://", "local://")


class Place(Protocol):
    """Files by their paths. A missing one is a FileNotFoundError.

    What cannot be reached is an OSError or UnavailableError.
    """

    def put(self, path: str, chunks: Iterable[bytes], sha256: str | None = None) -> int:
        """Write a file in place of any earlier one; its length.

        Raises:
            CorruptionError: the chunks have another SHA-256 than they should; nothing is written.
        """
        ...

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, a few at a time."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Names of the files in a folder (not below its folders) with their lengths."""
        ...

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder, in order."""
        ...

    def remove(self, path: str) -> None:
        """Nothing when it is gone."""
        ...

    def settle(self) -> None:
        """All that was put survives a power cut when this returns."""
        ...


def open_place(url: str | PathLike[str]) -> Place:
    """The place at a path or URL; made with the first file.

    Raises:
        InputError: it is empty, or a file is there.
    """
    text = os.fspath(url)
    for prefix in _LOCAL:
        text = text.removeprefix(prefix)
    if not text:
        raise InputError("The place of the backup is empty; name a folder or a URL.")
    if "://" in text or "::" in text:
        return RemotePlace(text)
    folder = Path(text).expanduser().absolute()
    with suppress(OSError):  # said when it is written to
        if folder.exists() and not folder.is_dir():
            raise InputError(f"The place of the backup, {folder}, is a file; name a folder or a URL.")
    return LocalPlace(folder)


def read_file(path: Path) -> Iterator[bytes]:
    """A local file in chunks. Raises FileNotFoundError before the first."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


class LocalPlace:
    """A folder: written aside, fsynced, renamed; `settle` fsyncs the folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._touched: set[Path] = set()

    def put(self, path: str, chunks: Iterable[bytes], sha256: str | None = None) -> int:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.parent / f"{ASIDE}{uuid.uuid4().hex}"
        try:
            with aside.open("xb") as file:
                length = _write(file, chunks, sha256, path)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        self._touched.update([target.parent, *target.parent.parents[: len(Path(path).parts)]])
        return length

    def chunks(self, path: str) -> Iterator[bytes]:
        return read_file(self.root / path)

    def sizes(self, folder: str) -> dict[str, int]:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.root / folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        return {}

    def folders(self, folder: str) -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.root / folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
        return []

    def remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    def settle(self) -> None:
        for folder in sorted(self._touched):
            sync_folder(folder)
        self._touched.clear()


class RemotePlace:
    """Any fsspec URL. A file is gathered and checked in a temporary one here, then sent in one piece."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = file_system(url, "of the backup")

    def put(self, path: str, chunks: Iterable[bytes], sha256: str | None = None) -> int:
        full = self._full(path)
        with tempfile.NamedTemporaryFile(prefix="sightline-") as gathered:
            length = _write(gathered, chunks, sha256, path)
            gathered.flush()
            with translated(full):
                self._fs.makedirs(full.rpartition("/")[0], exist_ok=True)
                self._fs.put_file(gathered.name, full)
        return length

    def chunks(self, path: str) -> Iterator[bytes]:
        full = self._full(path)
        with translated(full), self._fs.open(full, "rb") as file:
            while chunk := file.read(CHUNK):
                yield bytes(chunk)

    def sizes(self, folder: str) -> dict[str, int]:
        found = [entry for entry in self._entries(folder) if entry["type"] == "file"]
        return {_name(entry): int(entry.get("size") or 0) for entry in found}

    def folders(self, folder: str) -> list[str]:
        return sorted(_name(entry) for entry in self._entries(folder) if entry["type"] == "directory")

    def remove(self, path: str) -> None:
        full = self._full(path)
        with suppress(FileNotFoundError), translated(full):
            self._fs.rm_file(full)

    def settle(self) -> None:
        """A store answers when it has it."""

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        full = self._full(folder)
        with suppress(FileNotFoundError, NotADirectoryError), translated(full):
            return list(self._fs.ls(full, detail=True, refresh=True))
        return []


def gather(chunks: Iterable[bytes], path: Path) -> None:
    """Write chunks into a local file that nobody else sees."""
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)


def copy_file(source: Path, target: Path) -> None:
    """A plain local copy, durable."""
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _write(file: IO[bytes], chunks: Iterable[bytes], sha256: str | None, path: str) -> int:
    digest, length = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        length += file.write(chunk)
    if sha256 is not None and digest.hexdigest() != sha256:
        raise CorruptionError(f"The file {path} is not what was written: its SHA-256 differs.")
    return length
