"""Addresses of local files, and their bytes read with care."""

from __future__ import annotations

import os
import re
import stat
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from sightline.errors import ImageRejected
from sightline.indexer.roots import ARCHIVE_MARK

FILE_SCHEME: Final = "file://"
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SYSTEM_FILES: Final = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"}
)


def is_ignored(name: str) -> bool:
    """Hidden files and folders, and those that systems leave beside pictures: never listed or reported."""
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in _SYSTEM_FILES


def scheme_of(address: str) -> str | None:
    """The scheme of a URL in lower case (``::`` chains of fsspec: ``"::"``); None for a plain path."""
    match = _SCHEME.match(address)
    if match is None:
        return None
    return "::" if "::" in address else match[1].lower()


def absolute(path: str, base: str = "") -> str:
    """``path`` (relative to ``base`` or the current folder) made absolute, leading to where it led.

    Where it climbs with ``..`` its symlinks are resolved: removing the dots alone could lead elsewhere.
    """
    joined = os.path.join(base, path)
    return os.path.realpath(joined) if ".." in joined.split("/") else os.path.abspath(joined)


def local_uri(path: str) -> str:
    """The address of an absolute path: itself, or a ``file://`` URL where the path alone would be ambiguous.

    That is when it contains the mark of archive members, or bytes that are no UTF-8. Of the latter the
    symlinks are resolved, so that a check of the address sees where it leads whatever its unreadable names
    are taken for.
    """
    if not is_text(path):
        path = os.path.realpath(path)
    if is_text(path) and ARCHIVE_MARK not in path:
        return path
    return FILE_SCHEME + quote(os.fsencode(path), safe="/")


def local_path(address: str) -> str:
    """The path that `local_uri` made an address of."""
    if address.startswith(FILE_SCHEME):
        return os.fsdecode(unquote_to_bytes(address.removeprefix(FILE_SCHEME)))
    return address


def is_text(name: str) -> bool:
    """Whether a name from the file system is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(name: str) -> str:
    """A name as text: bytes that are no UTF-8 become ``\\xff``."""
    return name if is_text(name) else os.fsencode(name).decode("utf-8", "backslashreplace")


def read_local(path: str, max_bytes: int) -> bytes:
    """All bytes of a regular file. Never blocks on a pipe or device.

    Raises:
        ImageRejected: ``unreadable`` or ``too_many_bytes``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    try:
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise ImageRejected("unreadable", f"{readable(path)} is no regular file.")
            if state.st_size > max_bytes:
                raise too_many_bytes(readable(path), state.st_size, max_bytes)
            return file.readall()
    except OSError as error:
        raise _unreadable(path, error) from error


def too_many_bytes(name: str, size: int, max_bytes: int) -> ImageRejected:
    """The rejection of something that is too long to be a picture."""
    return ImageRejected("too_many_bytes", f"{name} has {size:,} bytes; the limit is {max_bytes:,}.")


def _unreadable(path: str, error: OSError | ValueError) -> ImageRejected:
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return ImageRejected("unreadable", f"{readable(path)} cannot be read: {said}.")
