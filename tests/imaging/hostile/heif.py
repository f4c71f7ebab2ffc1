"""HEIF: depths, wide colours, orientation, crops, grids, several pictures, and films behind the still."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

from tests.imaging.hostile import avif
from tests.imaging.hostile.case import Case, Pixels, as_rgb, of, on_white, ramp
from tests.imaging.hostile.turns import stored, xmp
from tests.imaging.hostile.wide import from_p3, from_rec2020
from tests.imaging.odd_files import ORIENTATION, quarters

EXACT: dict[str, Any] = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
"""Without loss: what was encoded is what has to come out."""
P3, REC2020, SRGB_CURVE, PQ, HLG = 12, 9, 13, 16, 18


def heic(mode: str, pixels: NDArray[Any], **options: Any) -> bytes:
    """A file with one picture. 16-bit modes are stored with 10 bits, or 12."""
    pillow_heif.options.SAVE_HDR_TO_12_BIT = options.pop("bits", 10) == 12
    height, width = pixels.shape[:2]
    one = pillow_heif.from_bytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes())
    file = io.BytesIO()
    one.save(file, **(EXACT | options))
    return file.getvalue()


def wide_ramp() -> Pixels:
    """48 × 32: every pixel another colour, the purest ones too."""
    return ramp(48, 32)


def turned(value: int, twice: bool = False) -> bytes:
    """As phones do it: the boxes turn, and EXIF says the same (``twice``: XMP too)."""
    exif = Image.Exif()
    exif[ORIENTATION] = value
    picture = Image.fromarray(stored(wide_ramp(), value))
    file = io.BytesIO()
    more = {"xmp": xmp(value)} if twice else {}
    pillow_heif.register_heif_opener()
    picture.save(file, "HEIF", exif=exif.tobytes(), **EXACT, **more)
    return file.getvalue()


def several(primary: int) -> bytes:
    """Three pictures, of which one is the primary."""
    parts = [Image.fromarray(np.full((32, 48, 3), shade, np.uint8)) for shade in (10, 120, 240)]
    container = pillow_heif.HeifFile()
    for one in parts:
        container.add_from_pillow(one)
    file = io.BytesIO()
    container.save(file, primary_index=primary, **EXACT)
    return file.getvalue()


@cache
def plain() -> bytes:
    return heic("RGB", wide_ramp())


def _with_ispe(box: bytes) -> bytes:
    """The plain picture, whose header says another size than its pixels have."""
    at = plain().index(b"ispe")
    return plain()[:at] + box + plain()[at + len(box) :]


def film() -> bytes:
    """The beginning of an MP4."""
    return b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + struct.pack(">I4s", 200, b"mdat") + bytes(192)


def motion_photo() -> bytes:
    """As Google does it: the film in a box of its own; and as Samsung does: words behind all boxes."""
    body = film()
    return plain() + struct.pack(">I4s", len(body) + 8, b"mpvd") + body + b"\0\0SEFHe\0\0\0\1SEFT"


def deep(width: int = 48, height: int = 32) -> NDArray[np.uint16]:
    """16-bit samples whose ten highest bits are used."""
    rows, columns = np.mgrid[0:height, 0:width]
    levels = np.stack([columns * 1023 // (width - 1), rows * 1023 // (height - 1), columns * rows % 1024], -1)
    return (levels.astype(np.uint16)) << 6


def depths() -> Iterator[Case]:
    yield Case("heic-plain", plain, wide_ramp())
    grey = (np.mgrid[0:32, 0:48][1] * 5).astype(np.uint8)
    yield Case("heic-grey", partial(heic, "L", grey), as_rgb(grey), tolerance=1)
    alpha = (np.mgrid[0:32, 0:48][1] * 5).astype(np.uint8)
    clear = np.concatenate([wide_ramp(), alpha[..., None]], -1)
    yield Case("heic-alpha", partial(heic, "RGBA", clear), on_white(wide_ramp(), alpha), tolerance=1)
    expected = np.rint((deep() >> 6) / 1023 * 255).astype(np.uint8)
    yield Case("heic-10-bit", partial(heic, "RGB;16", deep()), expected)
    yield Case("heic-12-bit", partial(heic, "RGB;16", deep(), bits=12), expected, tolerance=1)
    soft = {"quality": 95, "chroma": 420, "matrix_coefficients": 6}
    flat = of(quarters())
    yield Case("heic-420", partial(heic, "RGB", flat, **soft), flat, tolerance=60)
    tiles = partial(heic, "RGB", ramp(150, 140), tile_size=64)
    yield Case("heic-grid", tiles, ramp(150, 140))


def colours() -> Iterator[Case]:
    p3 = {"color_primaries": P3, "transfer_characteristics": SRGB_CURVE}
    yield Case("heic-p3-numbers", partial(heic, "RGB", wide_ramp(), **p3), from_p3(wide_ramp()), tolerance=1)
    expected = from_p3(deep() >> 6, 1023)
    yield Case("heic-p3-numbers-10-bit", partial(heic, "RGB;16", deep(), **p3), expected, tolerance=1)
    rec2020 = {"color_primaries": REC2020, "transfer_characteristics": SRGB_CURVE}
    yield Case(
        "heic-rec2020-numbers",
        partial(heic, "RGB", wide_ramp(), **rec2020),
        from_rec2020(wide_ramp()),
        tolerance=1,
    )
    alpha = (np.mgrid[0:32, 0:48][1] * 5).astype(np.uint8)
    clear = np.concatenate([wide_ramp(), alpha[..., None]], -1)
    over = on_white(from_p3(wide_ramp()), alpha)
    yield Case("heic-p3-alpha", partial(heic, "RGBA", clear, **p3), over, tolerance=2)


def transformed() -> Iterator[Case]:
    for value in range(1, 9):
        yield Case(f"heic-turn{value}", partial(turned, value), wide_ramp())
        yield Case(f"heic-turn{value}-and-xmp", partial(turned, value, True), wide_ramp())
    cut = of(quarters())[4:24, 12:42]
    flat = partial(heic, "RGB", of(quarters()))
    box = avif.clap(12, 4, 30, 20)
    yield Case("heic-clap", lambda: avif.with_properties(box, data=flat()), cut)
    for turns in (1, 2, 3):
        irot = (b"irot", bytes([turns]))
        both = partial(avif.with_properties, box, irot, data=flat())
        yield Case(f"heic-clap-irot{turns}", both, np.rot90(cut, turns))


def cases() -> Iterator[Case]:
    yield from depths()
    yield from colours()
    yield from transformed()
    for primary, shade in enumerate((10, 120, 240)):
        data = partial(several, primary)
        yield Case(f"heic-primary-{primary}", data, np.full((32, 48, 3), shade, np.uint8))
    yield Case("heic-motion-photo", motion_photo, wide_ramp())
    lying = b"ispe" + struct.pack(">III", 0, 1, 1)
    yield Case("heic-of-another-size", lambda: _with_ispe(lying), reason="unreadable")
    yield Case("heic-cut-in-pixels", lambda: plain()[:-300], reason="truncated")
    yield Case("heic-cut-in-boxes", lambda: plain()[:200], reason="truncated")
