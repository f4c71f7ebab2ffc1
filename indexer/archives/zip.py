"""Members of ZIP archives."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Generator, Iterator
from functools import partial
from threading import Lock
from typing import BinaryIO, Final

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.archives.members import Member, growth_limit, member_name
from sightline.indexer.files import open_file, readable
from sightline.indexer.roots import ANYWHERE, Roots

_UNIX: Final = 3
_ENCRYPTED: Final = 0x1
_RATIO_LIMIT: Final = 200
_RATIO_FREE: Final = 64 << 20
"""Smaller members may be packed as tightly as they like: flat pictures are."""


def zip_members(path: str, roots: Roots = ANYWHERE) -> Generator[Member, None, None]:
    """Every file of a ZIP archive; the open archive lives as long as any of its members.

    Raises:
        SourceError: it is no ZIP archive, or one whose members add up to more than it can hold.
    """
    archive, packed = _open(path, roots)
    lock = Lock()
    unpacked = 0
    for info in archive.infolist():
        if info.is_dir():
            continue
        refusal = _refusal(info)
        if refusal is None:
            unpacked += info.file_size
            if unpacked > growth_limit(packed):
                raise SourceError(
                    f"{readable(path)} unpacks to more than its size can explain; it is a ZIP bomb."
                )
        pieces = partial(_pieces, archive, info, lock)
        yield Member(member_name(info.filename), info.file_size, pieces, refusal)


def zip_names(path: str, roots: Roots = ANYWHERE) -> list[str]:
    """The names of all members; none when it is no ZIP archive."""
    try:
        archive, _ = _open(path, roots)
    except SourceError:
        return []
    with archive:
        return [member_name(info.filename) for info in archive.infolist() if not info.is_dir()]


class _Archive(zipfile.ZipFile):
    """Closes the file that it was given, with itself or when it turns out to be no archive."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            super().__init__(file)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Also when it is forgotten."""
        super().close()
        self._file.close()


def _open(path: str, roots: Roots) -> tuple[zipfile.ZipFile, int]:
    """The archive and its length in bytes. Members that share compressed bytes are the mark of a bomb."""
    try:
        file = open_file(path, roots)
        packed = os.fstat(file.fileno()).st_size
        archive = _Archive(file)
    except OSError as error:
        raise SourceError(f"{readable(path)} cannot be opened as a ZIP archive: {error.strerror}.") from error
    except Exception as error:  # BadZipFile, and for broken directories struct.error and ValueError
        raise SourceError(f"{readable(path)} cannot be opened as a ZIP archive: {error}.") from error
    if sum(info.compress_size for info in archive.infolist()) > packed:
        archive.close()
        raise SourceError(f"The members of {readable(path)} overlap; it is a ZIP bomb.")
    return archive, packed


def _refusal(info: zipfile.ZipInfo) -> ImageRejected | None:
    mode = info.external_attr >> 16
    if info.create_system == _UNIX and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return ImageRejected("unsupported", f"{info.filename} is a link or a device; those are not followed.")
    if info.flag_bits & _ENCRYPTED:
        return ImageRejected("unsupported", f"{info.filename} is encrypted.")
    if info.file_size > _RATIO_FREE and info.file_size > _RATIO_LIMIT * info.compress_size:
        detail = f"{info.filename} unpacks to {info.file_size:,} bytes from {info.compress_size:,}."
        return ImageRejected("too_many_bytes", detail)
    return None


def _pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo, lock: Lock, most: int) -> Iterator[bytes]:
    """Bytes with their CRC checked after the last. The lock: zipfile counts its open members without one."""
    with lock:
        member = archive.open(info)
    try:
        while piece := member.read(most):  # zipfile stops at the declared size
            yield piece
    finally:
        with lock:
            member.close()
