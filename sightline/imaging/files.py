"""The bytes of local files: of regular ones within limits, never waiting for a pipe or device."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from os import PathLike
from typing import BinaryIO

from sightline.errors import ImageRejected


def is_text(name: str) -> bool:
    """Whether a name from the file system is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(name: str) -> str:
    """A name as text: bytes that are no UTF-8 become ``\\xff``."""
    if is_text(name):
        return name
    try:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a letter, which no file system gives
        return name.encode("utf-8", "backslashreplace").decode()


def open_regular(
    path: str | PathLike[str], check: Callable[[int], None] = lambda descriptor: None
) -> BinaryIO:
    """A regular file, open for reading. Never blocks on a pipe or device.

    ``check`` sees its descriptor before anything else does.

    Raises:
        OSError: there is none.
        ValueError: no file can have such a path.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        check(descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_within(file: BinaryIO, name: str, max_bytes: int) -> bytes:
    """All bytes of an open regular file. Raises ImageRejected: ``too_many_bytes``, also when it grows."""
    size = os.fstat(file.fileno()).st_size
    if size > max_bytes:
        raise too_many_bytes(name, size, max_bytes)
    data = file.read(size + 1)
    if len(data) > size:  # it is being written to, or its length is not what the file system says
        data += file.read(max_bytes + 1 - len(data))
    if len(data) > max_bytes:
        raise too_many_bytes(name, len(data), max_bytes)
    return data


def read_regular(path: str | PathLike[str], max_bytes: int) -> bytes:
    """All bytes of a regular file. Never blocks on a pipe or device.

    Raises:
        ImageRejected: ``unreadable`` or ``too_many_bytes``.
    """
    name = os.fsdecode(path)
    try:
        with open_regular(path) as file:
            return read_within(file, readable(name), max_bytes)
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from error


def too_many_bytes(name: str, size: int, max_bytes: int) -> ImageRejected:
    """The rejection of something that is too long to be a picture."""
    return ImageRejected("too_many_bytes", f"{name} has {size:,} bytes; the limit is {max_bytes:,}.")


def unreadable(path: str, error: OSError | ValueError) -> ImageRejected:
    """The rejection of a file that cannot be opened or read."""
    said = "no file has such a name" if isinstance(error, ValueError) else error.strerror or str(error)
    name = readable(path).replace("\0", "\\x00")
    return ImageRejected("unreadable", f"{name} cannot be read: {said}.")
