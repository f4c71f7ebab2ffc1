"""JPEG XL: with and without boxes, depths, orientation, wide colours, and JPEGs packed into it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from functools import cache, partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tests.imaging import jxl_bits
from tests.imaging.hostile.case import Case, as_rgb, grey, of, on_white, ramp
from tests.imaging.hostile.turns import stored
from tests.imaging.hostile.wide import coded, from_p3
from tests.imaging.odd_files import ORIENTATION, encoded, quarters


def saved(picture: Image.Image, **options: object) -> bytes:
    import pillow_jxl  # noqa: F401 — Pillow learns to write the format by this

    return encoded(picture, "JXL", **({"lossless": True, "num_threads": 0, "effort": 3} | options))


@cache
def jpeg(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned = Image.fromarray(stored(of(quarters()), orientation))
    return encoded(turned, "JPEG", quality=95, subsampling=0, exif=exif.tobytes())


@cache
def packed_jpeg(orientation: int) -> bytes:
    """A JPEG inside of JPEG XL, from which it can be had again bit by bit."""
    import pillow_jxl  # noqa: F401

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "a.jpg"
        path.write_bytes(jpeg(orientation))
        file = BytesIO()
        with Image.open(path) as opened:
            opened.save(file, "JXL", num_threads=0)
    return file.getvalue()


def cases() -> Iterator[Case]:
    picture = Image.fromarray(ramp())
    yield Case("jxl-plain", partial(saved, picture), ramp())
    yield Case("jxl-boxed", partial(saved, picture, use_container=True), ramp())
    yield Case(
        "jxl-lossy", partial(saved, quarters(), lossless=False, quality=95), of(quarters()), tolerance=40
    )
    yield Case("jxl-grey", partial(saved, Image.fromarray(grey())), as_rgb(grey()))
    alpha = (np.mgrid[0:12, 0:20][1] * 13).astype(np.uint8)
    clear = Image.fromarray(np.concatenate([ramp(), alpha[..., None]], -1))
    yield Case("jxl-alpha", partial(saved, clear), on_white(ramp(), alpha), tolerance=1)
    deep = Image.fromarray(grey().astype(np.uint16) * 257)
    light = as_rgb(coded(grey() / 255))  # the encoder takes such numbers for light, and says so
    yield Case("jxl-grey-16", partial(saved, deep), light, tolerance=1)
    real = Image.fromarray((grey() / 255).astype(np.float32))
    yield Case("jxl-grey-float", partial(saved, real), light, tolerance=1)
    for value in range(1, 9):
        data = partial(jxl_bits.described, stored(ramp(), value), orientation=value)
        yield Case(f"jxl-turn{value}", data, ramp())
    wide = partial(jxl_bits.described, ramp(48, 32), primaries=jxl_bits.DISPLAY_P3)
    yield Case("jxl-p3", wide, from_p3(ramp(48, 32)), tolerance=2)
    for value in (1, 6):
        yield Case(f"jxl-of-jpeg-turn{value}", partial(packed_jpeg, value), of(quarters()), tolerance=60)
    yield Case("jxl-cut-in-header", lambda: saved(picture)[:4], reason="truncated")
    yield Case("jxl-boxed-cut", lambda: saved(picture, use_container=True)[:-20], reason="truncated")
    bomb = jxl_bits.header(1 << 20, 1 << 20) + bytes(50)
    yield Case("jxl-bomb", lambda: bomb, reason="too_many_pixels")
