"""When what has to be written cannot be: an error of our own, whose sentence says where and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sightline.errors import NoRoomError, StorageError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED: Final = frozenset({errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM})


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """The block writes at ``path``: what the disk refuses becomes a StorageError, everything else passes."""
    try:
        yield
    except OSError as error:
        translated = storage_error(error, path)
        if translated is None:
            raise
        raise translated from error


def storage_error(error: OSError, path: Path | str) -> StorageError | None:
    """What a failure to write at ``path`` means when it is the disk's fault; else None."""
    said = os.strerror(error.errno) if error.errno else ""
    if error.errno in _FULL:
        return NoRoomError(f"The disk is full at {path} ({said}); free some room there.")
    if error.errno in _REFUSED:
        return StorageError(f"{path} cannot be written to ({said}); set that right.")
    return None
