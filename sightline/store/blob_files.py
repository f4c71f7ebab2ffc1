"""The two kinds of file system under a blob store: a local folder, and anything that fsspec reaches."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from sightline.errors import UnavailableError
from sightline.store.durable import sync_folder


class Files(Protocol):
    """Whole files by their relative POSIX path. A missing one is a FileNotFoundError, or None as a size."""

    def write(self, path: str, data: bytes) -> None: ...

    def read(self, path: str) -> bytes: ...

    def open(self, path: str) -> BinaryIO: ...

    def size(self, path: str) -> int | None: ...

    def remove(self, path: str) -> None: ...

    def names(self, folder: str) -> Iterator[str]: ...

    def clean(self, before: float) -> int: ...


class LocalFiles:
    """A folder on a POSIX file system, created with the first write."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._aside = root / "aside"

    def write(self, path: str, data: bytes) -> None:
        """Atomic and durable; a name of its own aside, so that several writers of one path do not meet."""
        target = self._root / path
        aside = self._aside / uuid.uuid4().hex
        self._make_folder(target.parent)
        self._aside.mkdir(exist_ok=True)
        try:
            with aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
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

    def remove(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)

    def names(self, folder: str) -> Iterator[str]:
        """Base names below ``folder``, two levels deep."""
        for fan in _entries(self._root / folder):
            if fan.is_dir():
                yield from (entry.name for entry in _entries(Path(fan.path)))

    def clean(self, before: float) -> int:
        """Remove what lies aside since before that time (seconds since the epoch)."""
        count = 0
        for entry in _entries(self._aside):
            try:
                if entry.stat().st_mtime < before:
                    Path(entry.path).unlink()
                    count += 1
            except FileNotFoundError:
                continue
        return count

    def _make_folder(self, folder: Path) -> None:
        """Create and make it durable; only the first blob of each fan-out folder pays for that."""
        if folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for parent in folder.parents[:3]:
            sync_folder(parent)


class RemoteFiles:
    """Any other fsspec URL; its credentials and options come from fsspec's own configuration."""

    def __init__(self, url: str) -> None:
        import fsspec.core

        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UnavailableError(f"The address {url} of the originals cannot be used: {error}") from error
        self._root = str(root).rstrip("/")

    def write(self, path: str, data: bytes) -> None:
        full = f"{self._root}/{path}"
        with _translated(full):
            self._fs.makedirs(full.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(full, data)

    def read(self, path: str) -> bytes:
        full = f"{self._root}/{path}"
        with _translated(full):
            return bytes(self._fs.cat_file(full))

    def open(self, path: str) -> BinaryIO:
        full = f"{self._root}/{path}"
        with _translated(full):
            return cast(BinaryIO, self._fs.open(full, "rb"))

    def size(self, path: str) -> int | None:
        full = f"{self._root}/{path}"
        try:
            with _translated(full):
                info: dict[str, Any] = self._fs.info(full)
        except FileNotFoundError:
            return None
        return int(info.get("size") or 0)

    def remove(self, path: str) -> None:
        full = f"{self._root}/{path}"
        try:
            with _translated(full):
                self._fs.rm_file(full)
        except FileNotFoundError:
            return

    def names(self, folder: str) -> Iterator[str]:
        """Base names below ``folder``, one fan-out folder in memory at a time."""
        full = f"{self._root}/{folder}"
        with _translated(full):
            for fan in self._list(full):
                yield from (name.rpartition("/")[2] for name in self._list(fan))

    def clean(self, before: float) -> int:
        """Nothing is ever aside."""
        return 0

    def _list(self, full: str) -> list[str]:
        try:
            return [str(name).rstrip("/") for name in self._fs.ls(full, detail=False, refresh=True)]
        except (FileNotFoundError, NotADirectoryError):
            return []


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Errors of a driver that are no OSError (each has its own) become UnavailableError."""
    try:
        yield
    except (OSError, UnavailableError):
        raise
    except Exception as error:
        raise UnavailableError(f"{path} cannot be reached: {type(error).__name__}: {error}") from error
