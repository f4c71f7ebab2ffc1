"""Originals and thumbnails by the SHA-256 of the original: ``originals/ab/<sha>``,
``thumbnails/ab/<sha>.webp``.

In a local folder every file appears whole or not at all and survives a power cut: written aside, fsynced,
renamed, folder fsynced. Any other fsspec file system gets one plain write for each file, which object stores
make atomic.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from sightline.errors import NotFoundError
from sightline.store.blob_files import Files, LocalFiles, RemoteFiles

if TYPE_CHECKING:
    from os import PathLike

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LOCAL_PREFIXES: Final = ("file://", "local://")


class BlobStore:
    """Thread-safe and process-safe: a blob never changes, so writing it twice is writing it once.

    Every method that takes a SHA-256 raises NotFoundError when it is no SHA-256 in lower-case hex, so that an
    address from outside cannot name any other file.
    """

    def __init__(self, url: str | PathLike[str]) -> None:
        self._files = _files_of(str(url))

    # --- originals -----------------------------------------------------------------------------------------

    def put(self, data: bytes) -> str:
        """Keep ``data``; its SHA-256. What is there already is not written again."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = _original(sha256)
        if self._files.size(path) != len(data):
            self._files.write(path, data)
        return sha256

    def get(self, sha256: str) -> bytes:
        """The whole original. Raises NotFoundError."""
        return self._read(_original(sha256), f"The original {sha256} is not in the store.")

    def open(self, sha256: str) -> BinaryIO:
        """The original as a seekable file that the caller closes. Raises NotFoundError."""
        try:
            return self._files.open(_original(sha256))
        except FileNotFoundError:
            raise NotFoundError(f"The original {sha256} is not in the store.") from None

    def has(self, sha256: str) -> bool:
        """Whether the original is there."""
        return self._files.size(_original(sha256)) is not None

    def size(self, sha256: str) -> int:
        """Bytes of the original. Raises NotFoundError."""
        size = self._files.size(_original(sha256))
        if size is None:
            raise NotFoundError(f"The original {sha256} is not in the store.")
        return size

    def delete(self, sha256: str) -> None:
        """Remove the original and its thumbnail; what is not there is no error."""
        for path in (_original(sha256), _thumbnail(sha256)):
            self._files.remove(path)

    def __iter__(self) -> Iterator[str]:
        """The SHA-256 of every original, in no particular order, without holding them all."""
        return (name for name in self._files.names("originals") if _SHA256.fullmatch(name))

    # --- thumbnails ----------------------------------------------------------------------------------------

    def put_thumbnail(self, sha256: str, data: bytes) -> None:
        """Keep the WebP thumbnail of the original ``sha256``, in place of any earlier one."""
        self._files.write(_thumbnail(sha256), data)

    def get_thumbnail(self, sha256: str) -> bytes:
        """The thumbnail of the original ``sha256``. Raises NotFoundError."""
        return self._read(_thumbnail(sha256), f"There is no thumbnail of {sha256} in the store.")

    def has_thumbnail(self, sha256: str) -> bool:
        """Whether the thumbnail is there."""
        return self._files.size(_thumbnail(sha256)) is not None

    def thumbnails(self) -> Iterator[str]:
        """The SHA-256 of every original that has a thumbnail."""
        names = (name.removesuffix(".webp") for name in self._files.names("thumbnails"))
        return (name for name in names if _SHA256.fullmatch(name))

    def delete_thumbnail(self, sha256: str) -> None:
        """Remove the thumbnail alone."""
        self._files.remove(_thumbnail(sha256))

    # --- housekeeping --------------------------------------------------------------------------------------

    def clean(self, older_than: float = 3600.0) -> int:
        """Remove what writers that died left unfinished more than ``older_than`` seconds ago; how many
        files.
        """
        return self._files.clean(time.time() - older_than)

    def _read(self, path: str, missing: str) -> bytes:
        try:
            return self._files.read(path)
        except FileNotFoundError:
            raise NotFoundError(missing) from None


def _files_of(url: str) -> Files:
    for prefix in _LOCAL_PREFIXES:
        if url.startswith(prefix):
            return LocalFiles(Path(url.removeprefix(prefix)))
    if "://" in url or "::" in url:
        return RemoteFiles(url)
    return LocalFiles(Path(url).expanduser().absolute())


def _original(sha256: str) -> str:
    return f"originals/{_checked(sha256)[:2]}/{sha256}"


def _thumbnail(sha256: str) -> str:
    return f"thumbnails/{_checked(sha256)[:2]}/{sha256}.webp"


def _checked(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise NotFoundError(f"{sha256[:80]!r} is no SHA-256 in lower-case hex.")
    return sha256
