"""Which addresses a server may read: only what lies below its configured roots, symlinks followed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

ARCHIVE_MARK = "!/"


class Roots:
    """``None`` allows everything (the command line); an empty list allows nothing."""

    def __init__(self, roots: Sequence[str] | None) -> None:
        self._open = roots is None
        self._folders = [Path(root).resolve() for root in roots or () if not _is_url(root)]
        self._prefixes = [_plain(root).rstrip("/") + "/" for root in roots or () if _is_url(root)]

    @property
    def remote(self) -> bool:
        """Whether anything but local files may be read at all."""
        return self._open or bool(self._prefixes)

    def allow(self, uri: str) -> bool:
        """Whether the file behind ``uri`` (of an archive member: the archive) lies below a root."""
        if self._open:
            return True
        address = uri.split(ARCHIVE_MARK, 1)[0]
        if address.startswith("file://"):
            address = os.fsdecode(unquote_to_bytes(address.removeprefix("file://")))
        if _is_url(address):
            plain = _plain(address)
            return any(plain.startswith(prefix) for prefix in self._prefixes)
        real = Path(address).resolve()
        return any(real.is_relative_to(folder) for folder in self._folders)


def _is_url(address: str) -> bool:
    return "://" in address or "::" in address


def _plain(url: str) -> str:
    """The url with its path normalised, so that ``..`` (plain or quoted) cannot climb out of a prefix."""
    scheme, _, path = url.partition("://")
    return f"{scheme.lower()}://{os.path.normpath(unquote(path))}"
