"""When what has to be written cannot be: an error of our own, whose sentence says where and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR
from typing import Final

from sightline.errors import InputError, NoRoomError, StorageError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED: Final = frozenset({errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM})
_FILES: Final = frozenset({errno.EEXIST, errno.ENOTDIR})
_SHOWN: Final = 200


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


def make_folder(folder: Path, what: str, *, mode: int = 0o777) -> None:
    """Make a folder that a setting names, with those above it, unless it is there.

    ``what`` it is, and by which settings: as a sentence begins. ``mode``: its rights, less the umask.

    Raises:
        InputError: there can be none: a file is in its place, its name is too long, …
        StorageError: the disk refuses.
    """
    try:
        folder.mkdir(mode, parents=True, exist_ok=True)
    except OSError as error:
        raise _refusal(folder, what, error) from error


def has_folder(folder: Path, what: str) -> bool:
    """Whether the folder is there; makes none. InputError as `make_folder`."""
    try:
        is_folder = S_ISDIR(folder.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _refusal(folder, what, error) from error
    if not is_folder:
        raise _refusal(folder, what, NotADirectoryError(errno.ENOTDIR, "it is a file"))
    return True


def _refusal(folder: Path, what: str, error: OSError) -> InputError | StorageError:
    with_disk = storage_error(error, folder)
    if with_disk is not None:
        return with_disk
    said = "it, or what should hold it, is a file" if error.errno in _FILES else error.strerror
    name = f"{str(folder)[:_SHOWN]}…" if len(str(folder)) > _SHOWN else folder
    return InputError(f"{what} {name} cannot be made: {said}; name another place.")
