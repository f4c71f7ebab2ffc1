"""WebP: frames against their canvas, transparency, headers that disagree with the pixels."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
from PIL import Image

from tests.imaging.hostile.case import Case, Pixels, of, on_white, ramp
from tests.imaging.odd_files import RED, encoded


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def three(*values: int) -> bytes:
    """24-bit numbers."""
    return b"".join(value.to_bytes(3, "little") for value in values)


def stream(picture: Image.Image) -> bytes:
    """The lossless bit stream of a picture, without its file."""
    data = encoded(picture, "WEBP", lossless=True)
    at = data.index(b"VP8L")
    length = int.from_bytes(data[at + 4 : at + 8], "little")
    return data[at + 8 : at + 8 + length]


def extended(flags: int, width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    return riff((b"VP8X", bytes([flags, 0, 0, 0]) + three(width - 1, height - 1)), *chunks)


def animated(canvas: tuple[int, int], at: tuple[int, int], alpha: bool, background: int = 0) -> bytes:
    """The first frame is ``ramp`` somewhere on the canvas, the second covers all."""
    flags = 0x02 | (0x10 if alpha else 0)
    frames = []
    for picture, (left, top) in ((Image.fromarray(ramp()), at), (Image.new("RGB", canvas), (0, 0))):
        place = three(left // 2, top // 2, picture.width - 1, picture.height - 1, 100) + b"\2"
        data = stream(picture)
        part = b"VP8L" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        frames.append((b"ANMF", place + part))
    return extended(flags, *canvas, (b"ANIM", struct.pack("<IH", background, 0)), *frames)


def placed(canvas: tuple[int, int], at: tuple[int, int]) -> Pixels:
    whole = np.full((canvas[1], canvas[0], 3), 255, np.uint8)
    whole[at[1] : at[1] + 12, at[0] : at[0] + 20] = ramp()
    return whole


def cases() -> Iterator[Case]:
    yield Case("webp-lossless", partial(encoded, Image.fromarray(ramp()), "WEBP", lossless=True), ramp())
    flat = Image.new("RGB", (48, 32), RED)
    yield Case("webp-lossy", partial(encoded, flat, "WEBP", quality=95), of(flat), tolerance=8)
    alpha = (np.mgrid[0:12, 0:20][1] * 13).astype(np.uint8)
    clear = Image.fromarray(np.concatenate([ramp(), alpha[..., None]], -1), "RGBA")
    data = partial(encoded, clear, "WEBP", lossless=True, exact=True)
    yield Case("webp-alpha", data, on_white(ramp(), alpha), tolerance=1)
    for (canvas, at), shown, background in product(
        (((20, 12), (0, 0)), ((40, 30), (0, 0)), ((40, 30), (10, 8))), (False, True), (0, 0xFF0000FF)
    ):
        name = (
            f"webp-frame-{canvas[0]}x{canvas[1]}-at-{at[0]}-{at[1]}-alpha{shown:d}-background{background & 1}"
        )
        yield Case(name, partial(animated, canvas, at, shown, background), placed(canvas, at))
    one = stream(Image.fromarray(ramp()))
    yield Case("webp-extended", lambda: extended(0, 20, 12, (b"VP8L", one)), ramp())
    unknown = partial(extended, 0, 20, 12, (b"ABCD", b"xyz"), (b"VP8L", one))
    yield Case("webp-unknown-chunk", unknown, ramp())
    yield Case("webp-junk-behind", lambda: riff((b"VP8L", one)) + b"<html>" * 99, ramp())
    yield Case("webp-canvas-lies", lambda: extended(0, 99, 77, (b"VP8L", one)), reason="unreadable")
    bomb = partial(extended, 0, 60_000, 60_000, (b"VP8L", one))
    yield Case("webp-bomb-canvas", bomb, reason="too_many_pixels")
    yield Case("webp-empty", lambda: riff(), reason="unreadable")
    long = Image.fromarray(np.full((16_383, 1, 3), 77, np.uint8))
    yield Case("webp-1x16383", partial(encoded, long, "WEBP", lossless=True), of(long))
