"""Addresses of local files, and their bytes read with care."""

from __future__ import annotations

import os
from typing import BinaryIO, Final
from urllib.parse import quote

from sightline.imaging.files import is_text as is_text
from sightline.imaging.files import open_regular, read_within, unreadable
from sightline.imaging.files import readable as readable
from sightline.indexer.roots import ANYWHERE, ARCHIVE_MARK, FILE_SCHEME, Roots
from sightline.indexer.roots import local_path as local_path
from sightline.indexer.roots import scheme_of as scheme_of

_SYSTEM_FILES: Final = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"}
)


_UNFINISHED: Final = (".tmp", ".part", ".partial", ".crdownload", ".filepart")
"""How the names of files end that a program still writes, or has kept for itself."""


def is_ignored(name: str) -> bool:
    """Hidden and unfinished files, and those that systems leave beside pictures: never listed or reported."""
    hidden = name.startswith(".") and name not in (".", "..")
    return hidden or name.lower() in _SYSTEM_FILES or name.lower().endswith(_UNFINISHED)


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


def open_file(path: str, roots: Roots = ANYWHERE) -> BinaryIO:
    """A regular file below ``roots``, open for reading. Never blocks on a pipe or device.

    Raises:
        OSError: there is none, or it lies outside; then nothing says whether there is one.
    """
    roots.check_path(path)
    return open_regular(path, lambda descriptor: roots.check_opened(descriptor, path))


def read_local(path: str, max_bytes: int, roots: Roots = ANYWHERE) -> bytes:
    """All bytes of a regular file below ``roots``. Never blocks on a pipe or device.

    Raises:
        ImageRejected: ``unreadable`` or ``too_many_bytes``.
    """
    try:
        with open_file(path, roots) as file:
            return read_within(file, readable(path), max_bytes)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
