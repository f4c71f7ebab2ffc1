"""Which addresses a server may read: only what lies below its configured roots, symlinks followed.

Two checks. An address is judged by its letters first, so that nothing outside is ever looked at: what it says
is the same whether something lies there or not. What was opened is judged again by where it really lies, so
that a link that was put in the way a moment before leads to nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

ARCHIVE_MARK: Final = "!/"
FILE_SCHEME: Final = "file://"
OUTSIDE: Final = "it lies outside of what this server may read"
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_STEPS: Final = re.compile(r"[/\\]")


def scheme_of(address: str) -> str | None:
    """The scheme of a URL in lower case (``::`` chains of fsspec: ``"::"``); None for a plain path."""
    match = _SCHEME.match(address)
    if match is None:
        # A chain begins with a protocol and no path: simplecache::s3://bucket/x.
        return "::" if re.match(r"[A-Za-z][A-Za-z0-9+.-]*::", address) and "://" in address else None
    return "::" if "::" in address else match[1].lower()


def local_path(address: str) -> str:
    """The path that a local address means: of a ``file://`` URL what it quotes, else itself."""
    if address[: len(FILE_SCHEME)].lower() == FILE_SCHEME:
        return os.fsdecode(unquote_to_bytes(address[len(FILE_SCHEME) :]))
    return address


def climbs(address: str) -> bool:
    """Whether a part of it is ``..``."""
    return ".." in _STEPS.split(address)


class Roots:
    """``None`` allows everything (the command line); an empty list allows nothing."""

    def __init__(self, roots: Sequence[str] | None) -> None:
        self._open = roots is None
        local = [local_path(root) for root in roots or () if scheme_of(root) in (None, "file")]
        self._real = [Path(os.path.realpath(root)) for root in local]
        self._named = [*map(Path, map(os.path.abspath, local)), *self._real]
        self._prefixes = [_plain(root) for root in roots or () if scheme_of(root) not in (None, "file")]

    @property
    def remote(self) -> bool:
        """Whether anything but local files may be read at all."""
        return self._open or bool(self._prefixes)

    def allow(self, uri: str) -> bool:
        """Whether ``uri``, and of an archive member the archive, lies below a root; what climbs does not."""
        if self._open:
            return True
        scheme = scheme_of(uri)
        if scheme not in (None, "file"):
            return scheme != "::" and self._allow_url(uri)
        path = local_path(uri)
        archive = local_path(uri.partition(ARCHIVE_MARK)[0])
        return not climbs(path) and self.allow_path(path) and self.allow_path(archive)

    def allow_path(self, path: str) -> bool:
        """Whether a local path lies below a root, by its letters and after following its links.

        It need not exist. Of one that is not below by its letters nothing is looked at.
        """
        if self._open:
            return True
        if "\0" in path or not _is_below(os.path.abspath(path), self._named):
            return False
        return _is_below(os.path.realpath(path), self._real)

    def check_opened(self, descriptor: int, path: str) -> None:
        """Raises OSError unless what was opened under this path lies below a root."""
        if not self._open and not _is_below(_place_of(descriptor, path), self._real):
            raise outside(path)

    def check_path(self, path: str) -> None:
        """As `allow_path`; raises OSError."""
        if not self.allow_path(path):
            raise outside(path)

    def _allow_url(self, url: str) -> bool:
        plain = _plain(url)
        if climbs(url) or climbs(unquote(url)) or "\0" in unquote(url):
            return False
        return any(plain == prefix or plain.startswith(f"{prefix}/") for prefix in self._prefixes)


ANYWHERE: Final = Roots(None)


def outside(path: str) -> OSError:
    """What opening such a path raises, whether or not something is there."""
    return PermissionError(None, OUTSIDE, path)


def _is_below(path: str, folders: Sequence[Path]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def _place_of(descriptor: int, path: str) -> str:
    """Where an open file lies: as the kernel says, else where its path leads if that is the same file."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        real = os.path.realpath(path)
        if not os.path.samestat(os.fstat(descriptor), os.stat(real)):
            raise outside(path) from None
        return real


def _plain(url: str) -> str:
    """The url with its path normalised, in one way of writing it."""
    scheme, _, path = url.partition("://")
    return f"{scheme.lower()}://{os.path.normpath(unquote(path))}"
