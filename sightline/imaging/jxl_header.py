"""The first bytes of JPEG XL (ISO/IEC 18181): size and orientation, read before anything is decoded.

The library behind Pillow's plugin decodes a picture to find out how large it is; limits have to be judged
before that.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sightline.errors import ImageRejected

_SIGNATURE: Final = b"\xff\x0a"
_BOXED: Final = b"\0\0\0\x0cJXL \r\n\x87\n"
_HEAD: Final = 64
"""Bytes that hold the fields read here, at most."""
_SIZES: Final = (9, 13, 18, 30)
_RATIOS: Final = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_MOST_BOXES: Final = 10_000


class JxlHeader(NamedTuple):
    """Width and height as stored, and EXIF's word for what makes the picture upright."""

    width: int
    height: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of what is decoded."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)


def read_header(data: bytes) -> JxlHeader:
    """Size and orientation.

    Raises:
        ImageRejected: ``truncated`` or ``unreadable``.
    """
    start = _codestream(data)
    if start[:2] != _SIGNATURE:
        raise ImageRejected("unreadable", "The JPEG XL file holds no codestream.")
    bits = _Bits(start[2:])
    in_eights = bits.take(1)
    height = bits.length(in_eights)
    ratio = _RATIOS.get(bits.take(3))
    width = bits.length(in_eights) if ratio is None else height * ratio[0] // ratio[1]
    is_usual, has_extra = bits.take(1), 0
    if not is_usual:
        has_extra = bits.take(1)
    return JxlHeader(width, height, bits.take(3) + 1 if has_extra else 1)


class _Bits:
    """Numbers of a few bits, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ImageRejected("truncated", "The JPEG XL file ends inside of its header.")
        found = self._value & (1 << count) - 1
        self._value >>= count
        self._left -= count
        return found

    def length(self, in_eights: int) -> int:
        return 8 * (self.take(5) + 1) if in_eights else self.take(_SIZES[self.take(2)]) + 1


def _codestream(data: bytes) -> bytes:
    """The first bytes of the codestream; it may lie in one box or in pieces."""
    if not data.startswith(_BOXED):
        return data[:_HEAD]
    found, at = b"", 0
    for _ in range(_MOST_BOXES):
        length, head = int.from_bytes(data[at : at + 4], "big"), 8
        kind = data[at + 4 : at + 8]
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = len(data) if length == 0 else at + length
        if kind == b"jxlc":
            return data[at + head : min(end, at + head + _HEAD)]
        if kind == b"jxlp":
            found += data[at + head + 4 : min(end, at + head + 4 + _HEAD)]
        if len(found) >= _HEAD or length < head or end >= len(data):
            break
        at = end
    return found[:_HEAD]
