"""GIF by hand: frames against their canvas, keys, palettes, interlace."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.imaging.hostile.case import Case, Pixels
from tests.imaging.odd_files import BLUE, GREEN, GREY, RED, encoded

COLOURS = np.array([RED, GREEN, BLUE, GREY], np.uint8)


def lzw(indices: bytes) -> bytes:
    """Two-bit samples as an LZW stream that never learns a code: a clear code in front of every pair."""
    codes = []
    for at in range(0, len(indices), 2):
        codes += [4, *indices[at : at + 2]]  # 3-bit codes stay 3 bits
    bits = "".join(format(code, "03b")[::-1] for code in [*codes, 5])
    bits += "0" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    blocks = [data[at : at + 255] for at in range(0, len(data), 255)]
    return b"\2" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def frame(
    indices: NDArray[np.uint8], left: int, top: int, key: int | None, interlace: bool, own: bytes = b""
) -> bytes:
    height, width = indices.shape
    control = b"" if key is None else b"!\xf9\4" + bytes([1, 0, 0, key, 0])
    rows = list(range(height))
    if interlace:
        rows = [*rows[::8], *rows[4::8], *rows[2::4], *rows[1::2]]
    flags = 0x40 * interlace | (0x81 if own else 0)
    place = b"," + struct.pack("<HHHHB", left, top, width, height, flags)
    return control + place + own + lzw(indices[rows].tobytes())


def screen(width: int, height: int, *frames: bytes, palette: bool = True, background: int = 0) -> bytes:
    flags, colours = (0x81, COLOURS.tobytes()) if palette else (0, b"")
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, flags, background, 0) + colours
    return head + b"".join(frames) + b";"


def indices(width: int = 9, height: int = 7) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:height, 0:width]
    return ((rows * 3 + columns) % 4).astype(np.uint8)


def placed(size: tuple[int, int], at: tuple[int, int], key: int | None) -> Pixels:
    """The frame of ``indices`` on a canvas; white where nothing is."""
    canvas = np.full((size[1], size[0], 3), 255, np.uint8)
    inside = COLOURS[indices()]
    if key is not None:
        inside[indices() == key] = 255
    canvas[at[1] : at[1] + 7, at[0] : at[0] + 9] = inside
    return canvas


def placements() -> Iterator[Case]:
    for (size, at), key, interlace in product(
        (((9, 7), (0, 0)), ((20, 12), (0, 0)), ((20, 12), (5, 3)), ((9, 30), (0, 23))),
        (None, 2),
        (False, True),
    ):
        parts = (
            f"gif-{size[0]}x{size[1]}-at-{at[0]}-{at[1]}",
            "key" if key else "",
            "rows" if interlace else "",
        )
        one = frame(indices(), *at, key, interlace)
        yield Case("-".join(filter(None, parts)), partial(screen, *size, one), placed(size, at, key))


def cases() -> Iterator[Case]:
    yield from placements()
    one = frame(indices(), 2, 1, None, False)
    yield Case("gif-background-3", partial(screen, 20, 12, one, background=3), placed((20, 12), (2, 1), None))
    own = frame(indices(), 2, 1, None, False, COLOURS[::-1].tobytes())
    swapped = np.full((12, 20, 3), 255, np.uint8)
    swapped[1:8, 2:11] = COLOURS[::-1][indices()]
    yield Case("gif-own-palette", partial(screen, 20, 12, own), swapped)
    yield Case("gif-only-own-palette", partial(screen, 20, 12, own, palette=False), swapped)
    second = frame(indices()[::-1].copy(), 0, 0, None, False)
    yield Case(
        "gif-second-frame-larger", partial(screen, 20, 12, one, second), placed((20, 12), (2, 1), None)
    )
    late = frame(np.zeros((12, 20), np.uint8), 0, 0, None, False)
    yield Case("gif-small-frame-first", partial(screen, 20, 12, one, late), placed((20, 12), (2, 1), None))
    yield Case("gif-junk-behind", lambda: screen(20, 12, one) + b"PK\3\4junk", placed((20, 12), (2, 1), None))
    yield Case("gif-without-end", lambda: screen(20, 12, one)[:-1], placed((20, 12), (2, 1), None))
    yield Case("gif-no-frame", partial(screen, 20, 12), reason="unreadable")
    large = frame(indices(), 0, 0, None, False)
    yield Case("gif-frame-beyond-screen", partial(screen, 4, 3, large), placed((9, 7), (0, 0), None))
    bits = Image.fromarray((indices() % 2 * 255).astype(np.uint8)).convert("1")
    expected = np.repeat((indices() % 2 * 255).astype(np.uint8)[..., None], 3, -1)
    yield Case("gif-of-bits", partial(encoded, bits, "GIF"), expected)
    comment = b"!\xfe\5hello\0"
    yield Case("gif-comment", partial(screen, 20, 12, comment + one), placed((20, 12), (2, 1), None))
    tall = frame(np.zeros((60_000, 1), np.uint8), 0, 0, None, False)
    yield Case("gif-1x60000", partial(screen, 1, 60_000, tall), np.full((60_000, 1, 3), RED, np.uint8))
