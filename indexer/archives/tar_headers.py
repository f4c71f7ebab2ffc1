"""TAR headers, read strictly: damage is an error, and a header costs no more than its length explains.

``tarfile`` takes damage in the middle for the end of the archive, reads a header of any size into memory, and
searches extended ones with patterns that take the square of their length (CVE-2024-6232; Pythons before
3.11.10 have them, and 10 MB would take days).
"""

from __future__ import annotations

import re
import struct
import tarfile
from typing import IO, Any, Final, Literal, Self

_MOST_BYTES: Final = 1 << 20
"""An extended header holds names and times: a few hundred bytes."""
_TYPE_AT: Final = 156
_EXTENDED: Final = (b"x", b"g", b"X")
_LONG: Final = (b"L", b"K")
_DIGITS: Final = re.compile(rb"\d{100,}")
_MOST_STEPS: Final = 4_000_000
"""What the patterns may cost for one header: digits in a row take the square of their number."""


class _StrictTarInfo(tarfile.TarInfo):
    """Damage in the middle is an error; tarfile itself would take it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        if isinstance(archive.fileobj, _Checked):
            archive.fileobj.header_is_next = True
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the end mark
                raise
            raise tarfile.ReadError(f"{error}, where a member or the end mark should be") from error
        except (ValueError, struct.error) as error:  # numbers that are none: of a sparse file, say
            raise tarfile.ReadError("a header with numbers that make no sense") from error


class StrictTarFile(tarfile.TarFile):
    """A TarFile for reading whose headers are looked at before tarfile does."""

    tarinfo = _StrictTarInfo

    def __init__(self, name: Any, mode: Literal["r"], fileobj: IO[bytes]) -> None:
        super().__init__(name, mode, _Checked(fileobj))


class _Checked:
    """What ``tarfile`` reads headers from: it reads one block, and then what an extended one consists of."""

    def __init__(self, file: IO[bytes]) -> None:
        self.header_is_next = False
        self._file = file
        self._kind = b""
        """Of the extended header whose content comes next; empty: none."""

    def read(self, size: int = -1) -> bytes:
        kind, self._kind = self._kind, b""
        if kind and not 0 <= size <= _MOST_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        data = self._file.read(size)
        if kind in _EXTENDED and (_steps(data) > _MOST_STEPS or data.count(b"hdrcharset=") > 1):
            raise tarfile.ReadError("an extended header that makes no sense")
        if self.header_is_next and data[_TYPE_AT : _TYPE_AT + 1] in _EXTENDED + _LONG:
            self._kind = data[_TYPE_AT : _TYPE_AT + 1]
        self.header_is_next = False
        return data

    def seek(self, position: int, *whence: int) -> int:
        return self._file.seek(position, *whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _steps(data: bytes) -> int:
    return sum((found.end() - found.start()) ** 2 for found in _DIGITS.finditer(data))
