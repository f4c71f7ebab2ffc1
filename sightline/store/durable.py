"""Files that exist whole or not at all: written aside, fsynced, renamed, and the folder fsynced."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from sightline.errors import CorruptionError, NotFoundError
from sightline.faultpoint import faultpoint
from sightline.store.storage import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ASIDE: Final = ".aside-"
"""What the names of unfinished files begin with; a crash can leave them behind, the builder removes them."""


class WrittenFile(NamedTuple):
    """A finished file: name inside its folder, SHA-256 (hex) over all its bytes, length in bytes."""

    file: str
    sha256: str
    bytes: int


class FileMissingError(NotFoundError):
    """A segment or generation file is gone; whoever holds an old snapshot should take a new one."""

    code = "file-missing"


def write_durably(folder: Path, name: str, chunks: Iterable[bytes | memoryview]) -> WrittenFile:
    """Write ``chunks`` one after another as ``folder/name``; on any error nothing is left behind.

    When this returns, the file survives a power cut. ``name`` must not exist yet: files are immutable.

    Raises:
        StorageError: the disk is full, or does not take what is written.
    """
    with writing(folder):
        return _write(folder, name, chunks)


def _write(folder: Path, name: str, chunks: Iterable[bytes | memoryview]) -> WrittenFile:
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{ASIDE}{name}"
    digest, length = hashlib.sha256(), 0
    try:
        # Hashing goes on while the disk writes: both release the interpreter.
        with ThreadPoolExecutor(1, "hash") as hasher, aside.open("xb") as handle:
            hashed: Future[None] | None = None
            for chunk in chunks:
                length += handle.write(chunk)
                if hashed is not None:
                    hashed.result()  # never more than one chunk behind: chunks may be all there is of memory
                hashed = hasher.submit(digest.update, chunk)
            handle.flush()
            os.fsync(handle.fileno())
        faultpoint("file.aside")
        aside.rename(folder / name)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    faultpoint("file.renamed")
    sync_folder(folder)
    return WrittenFile(name, digest.hexdigest(), length)


def publish_or_remove(path: Path | None, publish: Callable[[], bool]) -> bool:
    """Whether ``publish`` made a finished file (None: there is none) known to the catalog; when not, it goes.

    When it raises, nobody knows what the catalog took: the file stays, for the sweep of unnamed files.

    Raises:
        FileMissingError: the file is gone meanwhile. The catalog says the same, in its transaction, of one
            that the builder has set aside.
    """
    if path is not None and not path.exists():
        raise FileMissingError(f"The file {path.name} is gone from {path.parent} before it was published.")
    published = publish()
    if not published and path is not None:
        path.unlink(missing_ok=True)
    return published


def sync_folder(folder: Path) -> None:
    """Make renames and deletions inside ``folder`` durable (POSIX)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileIdentity(NamedTuple):
    """What says that a file is still the one that was verified, and that nobody wrote to it since."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, handle: FileIO) -> FileIdentity:
        """Of an open file."""
        return cls._from(os.fstat(handle.fileno()))

    @classmethod
    def at(cls, path: Path) -> FileIdentity | None:
        """Of what lies there now; None when nothing can be read there."""
        try:
            return cls._from(path.stat())
        except OSError:
            return None

    @classmethod
    def _from(cls, found: os.stat_result) -> FileIdentity:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """A file for reading, unbuffered; `FileMissingError` when it is gone."""
    try:
        handle = path.open("rb", buffering=0)
    except FileNotFoundError:
        raise FileMissingError(f"The file {path.name} is missing from {path.parent}.") from None
    with handle:
        yield handle


def verify_file(path: Path, sha256: str) -> None:
    """Raise `FileMissingError` or, when the bytes are not those that were written, `CorruptionError`."""
    with opened(path) as handle:
        verify_open(path, handle, sha256)


def verify_open(path: Path, handle: FileIO, sha256: str) -> None:
    """As `verify_file`, of a file that is open."""
    handle.seek(0)
    if hashlib.file_digest(handle, "sha256").hexdigest() != sha256:
        raise CorruptionError(f"The file {path} is not what was written: its SHA-256 differs.")
