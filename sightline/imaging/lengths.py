"""Whether a file is cut off, as far as its format lets one tell without decoding."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from sightline.imaging.tiff_fields import MARKS, read_directories

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTENT: Final = (b"ftyp", b"meta", b"mdat", b"moov", b"jxlc", b"jxlp")
_QOI_END: Final = bytes(7) + b"\1"


def is_shorter_than_declared(data: bytes) -> bool:
    """Whether bytes are missing: those that a header counts, or the mark that ends the file."""
    check = next((check for mark, check in _CHECKS if data.startswith(mark)), None)
    if check is None and data[4:8] == b"ftyp":
        check = _boxes_are_cut
    return check is not None and check(data)


def content_is_cut(data: bytes) -> bool:
    """Whether a box with pixels, or with what is known about them, ends behind the file.

    What cameras hang on behind the last box (films, marks of their own) may be no box at all.
    """
    at = 0
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length < 8:
            return False
        at += length
        if at > len(data):
            return kind in _CONTENT
    return False


def _riff_is_cut(data: bytes) -> bool:
    return len(data) < 8 or len(data) < int.from_bytes(data[4:8], "little") + 8


def _jpeg_is_cut(data: bytes) -> bool:
    """No start of scan, or a segment in front of it that ends behind the file."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at = data.find(b"\xff", at) % (len(data) + 1)  # no more: the end
            continue
        if data[at + 1] in (0xFF, 0):
            at += 1
            continue
        if 0xD0 <= data[at + 1] <= 0xD9 or data[at + 1] == 1:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            return at + 2 + length > len(data)
        at += 2 + max(length, 2)
    return True


def _png_is_cut(data: bytes) -> bool:
    """Whether the chunks do not lie whole inside of the file up to IEND."""
    at = 8
    while at + 8 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return False
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return True


def _gif_is_cut(data: bytes) -> bool:
    """Whether the file ends before the first frame's last block, or where a block should begin."""
    if len(data) < 13:
        return True
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at < len(data):
        kind = data[at]
        if kind == 0x3B:
            return False
        if kind == 0x2C:
            if at + 10 >= len(data):
                return True
            palette = 3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0
            return _after_blocks(data, at + 11 + palette) is None
        after = _after_blocks(data, at + 2) if kind == 0x21 else at + 1
        if after is None:
            return True
        at = after
    return True


def _after_blocks(data: bytes, at: int) -> int | None:
    """Behind a run of sub-blocks; None when the file ends inside of it."""
    while at < len(data):
        if data[at] == 0:
            return at + 1
        at += 1 + data[at]
    return None


def _tiff_is_cut(data: bytes) -> bool:
    """Whether the header leads behind the end of the file, or a directory is not all there."""
    if len(data) < 8:
        return True
    order = MARKS[data[:4]]
    big = 43 in data[2:4]
    if big and len(data) < 16:
        return True
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    if found := read_directories(data):
        pieces = (place for one in found for place in zip(*one.pieces, strict=False))
        return any(at + length > len(data) for at, length in pieces)
    head = 8 if big else 2
    if start + head > len(data):
        return bool(start >= 8)
    count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    return bool(start >= 8 and start + head + count * (20 if big else 12) > len(data))


def _boxes_are_cut(data: bytes) -> bool:
    """Whether a box of the file's top level ends behind the file, or those of the pixels are missing."""
    at, kinds = 0, set()
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kinds.add(data[at + 4 : at + 8])
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length == 0:
            return False
        if length < 8:
            return False
        at += length
    return at != len(data) or b"mdat" not in kinds


def _ico_is_cut(data: bytes) -> bool:
    """Whether a picture that the directory names ends behind the file."""
    count = int.from_bytes(data[4:6], "little")
    entries = [data[at : at + 16] for at in range(6, 6 + 16 * count, 16)]
    return any(
        len(one) < 16
        or int.from_bytes(one[8:12], "little") + int.from_bytes(one[12:16], "little") > len(data)
        for one in entries
    )


def _qoi_is_cut(data: bytes) -> bool:
    return not data.endswith(_QOI_END)


def _codestream_is_cut(data: bytes) -> bool:
    """JPEG 2000: no mark at the end."""
    return not data.rstrip(b"\0").endswith(b"\xff\xd9")


_CHECKS: Final[tuple[tuple[bytes, Callable[[bytes], bool]], ...]] = (
    (b"RIFF", _riff_is_cut),
    (b"\xff\xd8\xff", _jpeg_is_cut),
    (b"\x89PNG", _png_is_cut),
    (b"GIF8", _gif_is_cut),
    *((mark, _tiff_is_cut) for mark in MARKS),
    (b"\0\0\1\0", _ico_is_cut),
    (b"qoif", _qoi_is_cut),
    (b"\0\0\0\x0cjP  ", _codestream_is_cut),
    (b"\xff\x4f\xff\x51", _codestream_is_cut),
    (b"\0\0\0\x0cJXL ", content_is_cut),
)
