"""One watch for each folder and collection: a second one would do everything twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sightline.errors import ConflictError

FOLDER: Final = "watching"
"""Where the locks lie, in the data folder. A lock ends with its process, whatever ends that."""


@contextmanager
def claimed(data: Path, collection: str, folders: Sequence[str]) -> Iterator[None]:
    """Inside, no other process watches one of the folders for this collection. Raises ConflictError."""
    with ExitStack() as held:
        for folder in folders:
            name = hashlib.sha256(f"{collection}\0{folder}".encode()).hexdigest()[:32]
            descriptor = _opened(data / FOLDER / f"{name}.lock")
            held.callback(os.close, descriptor)
            if not _locked(descriptor):
                raise ConflictError(f"Another `sightline watch` follows {folder} for {collection!r} already.")
        yield


def _opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _locked(descriptor: int) -> bool:
    """False when another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system knows no locks
        return True
    return True
