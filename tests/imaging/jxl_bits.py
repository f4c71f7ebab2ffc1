"""The header of a JPEG XL codestream, written bit by bit (ISO/IEC 18181-1), before the pixels of an encoder.

The encoder at hand writes sRGB, upright and of 8 bits only; what other writers say is said here.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SRGB, REC_2100, DISPLAY_P3 = 1, 9, 11
"""Primaries, as JPEG XL numbers them."""
LINEAR, SRGB_CURVE, PQ, HLG = 8, 13, 16, 18
_SIZES = ((9, 1), (13, 1), (18, 1), (30, 1))
_ENUM = ((None, 0), (None, 1), (4, 2), (6, 18))
_DEPTHS = {8: 0, 10: 1, 12: 2}


class Bits:
    """Bits, the lowest of each byte first."""

    def __init__(self) -> None:
        self._bits: list[int] = []

    def put(self, value: int, count: int) -> None:
        self._bits += [value >> at & 1 for at in range(count)]

    def choice(self, value: int, ways: tuple[tuple[int | None, int], ...]) -> None:
        """U32: the first of four ways that holds the value."""
        for number, (count, offset) in enumerate(ways):
            if value == offset if count is None else 0 <= value - offset < 1 << count:
                self.put(number, 2)
                self.put(value - offset, count or 0)
                return
        raise ValueError(value)

    def bytes(self) -> bytes:
        return np.packbits(np.array(self._bits, np.uint8), bitorder="little").tobytes()


def header(
    width: int,
    height: int,
    *,
    primaries: int = SRGB,
    curve: int = SRGB_CURVE,
    orientation: int = 1,
    depth: int = 8,
    animated: bool = False,
) -> bytes:
    """Signature, size and metadata of RGB without loss, up to the first frame."""
    bits = Bits()
    bits.put(0, 1)  # not in steps of eight pixels
    bits.choice(height, _SIZES)
    bits.put(0, 3)  # no ratio
    bits.choice(width, _SIZES)
    bits.put(0, 1)  # metadata are not the default
    bits.put(1, 1)
    bits.put(orientation - 1, 3)
    bits.put(0, 2)  # no intrinsic size, no preview
    bits.put(animated, 1)
    if animated:
        bits.put(0, 2)  # 100 ticks a second
        bits.put(0, 2)  # … by 1
        bits.put(0, 2)  # loops for ever
        bits.put(0, 3)
        bits.put(0, 1)
    bits.put(0, 1)  # integers
    bits.put(_DEPTHS[depth], 2)
    bits.put(1, 1)  # 16-bit buffers suffice
    bits.put(0, 2)  # no further channels
    bits.put(0, 1)  # not XYB
    bits.put(0, 1)  # colours are not the default
    bits.put(0, 1)  # no ICC profile
    bits.choice(0, _ENUM)  # RGB
    bits.choice(1, _ENUM)  # D65
    bits.choice(primaries, _ENUM)
    bits.put(0, 1)  # no gamma
    bits.choice(curve, _ENUM)
    bits.choice(1, _ENUM)  # relative colorimetric
    bits.put(1, 1)  # usual tone mapping
    bits.put(0, 2)  # no extensions
    bits.put(1, 1)  # usual transform
    return b"\xff\x0a" + bits.bytes()


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """[H, W, 3] without loss, as the encoder writes it."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JXL", lossless=True, num_threads=0, effort=3)
    return file.getvalue()


def described(pixels: NDArray[np.uint8], **said: int) -> bytes:
    """The same pixels under another header; ``said`` as in `header`."""
    height, width = pixels.shape[:2]
    data = encoded(pixels)
    return header(width, height, **said) + data[_own_header(data) :]


def _own_header(data: bytes) -> int:
    """Bytes of the encoder's header: its size, then thirteen bits (8-bit sRGB, upright), then whole bytes."""
    bits = np.unpackbits(np.frombuffer(data[2:20], np.uint8), bitorder="little").tolist()
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return sum(bit << place for place, bit in enumerate(bits[at - count : at]))

    def length(in_eights: int) -> int:
        return take(5 if in_eights else _SIZES[take(2)][0])

    in_eights = take(1)
    length(in_eights)
    if take(3) == 0:
        length(in_eights)
    assert take(13) == 0b1001000100000, "the encoder wrote another header than this was made for"
    return 2 + -(-at // 8)
