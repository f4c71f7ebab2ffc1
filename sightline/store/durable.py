"""Files that exist whole or not at all: written aside, fsynced, renamed, and the folder fsynced."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from sightline.errors import CorruptionError, NotFoundError
from sightline.faultpoint import faultpoint

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
    """
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
    """
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


def verify_file(path: Path, sha256: str) -> None:
    """Raise `FileMissingError` or, when the bytes are not those that were written, `CorruptionError`."""
    try:
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        raise FileMissingError(f"The file {path.name} is missing from {path.parent}.") from None
    if found != sha256:
        raise CorruptionError(f"The file {path} is not what was written: its SHA-256 differs.")
