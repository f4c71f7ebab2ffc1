"""Members of TAR archives, plain or compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import IO, Final, Literal, cast

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.archives.members import Member, growth_limit, member_name
from sightline.indexer.archives.tar_headers import StrictTarFile
from sightline.indexer.files import open_file, readable
from sightline.indexer.roots import ANYWHERE, Roots

_IN_MEMORY: Final = 16 << 20
"""Larger members of a compressed archive wait in a temporary file until they are read."""
Pieces = Callable[[int], Iterator[bytes]]
_COMPRESSED: Final = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))


def tar_members(path: str, max_bytes: int, roots: Roots = ANYWHERE) -> Generator[Member, None, None]:
    """Every file of a TAR archive, whose compression is told from its first bytes.

    A plain archive is read again at the member's place; a compressed one is read through once, and each
    member that is no larger than ``max_bytes`` is kept until nobody holds it.

    Raises:
        SourceError: it is no TAR archive, breaks off, or unpacks to absurd sizes.
    """
    try:
        with open_file(path, roots) as file:
            stream = _unpacked(file, path)
            if stream is None:
                with StrictTarFile.open(fileobj=file, mode="r:") as archive:
                    for info in _files(archive):
                        pieces = partial(_read_at, path, roots, info.offset_data, info.size)
                        yield _member(info, pieces)
            else:
                with StrictTarFile.open(fileobj=stream, mode="r|") as archive:
                    for info in _files(archive):
                        yield _member(info, _kept(archive, info, max_bytes))
    except SourceError:
        raise
    except OSError as error:
        said = error.strerror or str(error)
        raise SourceError(f"{readable(path)} cannot be read to its end as a TAR archive: {said}.") from error
    except (
        Exception
    ) as error:  # TarError, EOFError, zlib.error, LZMAError, OSError, ValueError, struct.error, …
        raise SourceError(f"{readable(path)} cannot be read to its end as a TAR archive: {error}.") from error


def tar_names(path: str, roots: Roots = ANYWHERE) -> Generator[str, None, None]:
    """The names of all members, as far as it can be read: what is wrong is said when they are listed."""
    try:
        with open_file(path, roots) as file:
            stream = _unpacked(file, path)
            mode: Literal["r:", "r|"] = "r:" if stream is None else "r|"
            with StrictTarFile.open(fileobj=stream or file, mode=mode) as archive:
                yield from (member_name(readable(info.name)) for info in _files(archive))
    except Exception:  # as above
        return


class _Counted(io.RawIOBase):
    """Reads from a decompressor, up to a limit."""

    def __init__(self, stream: IO[bytes], limit: int, name: str) -> None:
        super().__init__()
        self._stream = stream
        self._left = limit
        self._name = name

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise SourceError(
                f"{self._name} unpacks to more than its size can explain; it is a decompression bomb."
            )
        return data


def _unpacked(file: IO[bytes], path: str) -> _Counted | None:
    """The decompressed bytes of a compressed archive; None for a plain one."""
    head = file.read(6)
    file.seek(0)
    for magic, unpack in _COMPRESSED:
        if head.startswith(magic):
            limit = growth_limit(os.fstat(file.fileno()).st_size)
            return _Counted(cast(IO[bytes], unpack(file)), limit, readable(path))
    return None


def _files(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """All members but folders, keeping none of them in memory."""
    while (info := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # or it would hold a million of them
        if not info.isdir():
            yield info


def _member(info: tarfile.TarInfo, pieces: Pieces) -> Member:
    name = member_name(readable(info.name))
    refusal = None
    if not info.isreg() or info.issparse():
        detail = f"{name} is a link, a device or a sparse file; those are not followed."
        refusal = ImageRejected("unsupported", detail)
    return Member(name, info.size, pieces, refusal)


def _kept(archive: tarfile.TarFile, info: tarfile.TarInfo, max_bytes: int) -> Pieces:
    """The member's bytes out of the stream, which passes by only once."""
    stream = archive.extractfile(info) if info.isreg() and not info.issparse() else None
    if stream is None or info.size > max_bytes:
        return lambda most: iter(())
    if info.size <= _IN_MEMORY:
        data = stream.read()
        return lambda most: (data[at : at + most] for at in range(0, len(data), most))
    waiting = tempfile.TemporaryFile()  # noqa: SIM115  (closed when the member is forgotten)
    shutil.copyfileobj(stream, waiting)
    waiting.flush()
    return lambda most: _pieces(waiting, 0, info.size, most)


def _read_at(path: str, roots: Roots, offset: int, size: int, most: int) -> Iterator[bytes]:
    with open_file(path, roots) as file:
        yield from _pieces(file, offset, size, most)


def _pieces(file: IO[bytes], offset: int, size: int, most: int) -> Iterator[bytes]:
    """``size`` bytes from ``offset`` on, or as many as there are; without moving the file's place."""
    end = offset + size
    while offset < end and (piece := os.pread(file.fileno(), min(most, end - offset), offset)):
        offset += len(piece)
        yield piece
