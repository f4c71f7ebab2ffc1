"""TIFF in Lab and YCbCr of every kind of number: the nominal ranges, or a refusal that names them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.imaging.hostile.case import Case, Pixels, grey, of
from tests.imaging.hostile.tiff_writer import picture, tiff, tiles

_LAB, _ICC_LAB, _ITU_LAB, _YCC = 8, 9, 10, 6
_TO_XYZ_D50 = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
"""Linear sRGB, adapted by Bradford."""
_D50 = np.array([0.96422, 1.0, 0.82521])


def colours() -> Pixels:
    """[3, 6, 3]: strong ones, pale ones, greys, black and white; bytes of Lab hold none of them badly."""
    listed = [
        (200, 50, 50), (30, 200, 60), (70, 80, 190), (240, 220, 90), (90, 160, 170), (160, 50, 140),
        (0, 0, 0), (255, 255, 255), (128, 128, 128), (10, 12, 11), (240, 245, 250), (60, 60, 60),
        (120, 110, 100), (90, 130, 160), (230, 180, 170), (140, 70, 20), (180, 220, 190), (70, 60, 110),
    ]  # fmt: skip
    return np.array(listed, np.uint8).reshape(3, 6, 3)


def lab_of(rgb: Pixels) -> NDArray[np.float64]:
    """[..., 3] CIE Lab of sRGB for D50, by the definitions (IEC 61966-2-1, CIE 15)."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ_D50.T / _D50
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * 841 / 108 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def stored(lab: NDArray[np.float64], kind: str, space: int) -> NDArray[Any]:
    """Lab as the numbers that TIFF 6.0 and Adobe's notes say.

    CIE Lab: L from 0 to all bits, a and b signed, 256 of 16 bits being 1. ICC Lab: with half added, and L
    to FF00.
    """
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return lab.astype(dtype)
    one = 1 << (8 * dtype.itemsize - 8)
    white = 0xFF00 if space == _ICC_LAB and one > 1 else 256 * one - 1
    offset = 128 * one if space == _ICC_LAB else 0
    light = np.rint(lab[..., :1] * white / 100)
    both = np.concatenate(
        [light, np.clip(np.rint(lab[..., 1:] * one), -128 * one, 128 * one - 1) + offset], -1
    )
    return (both.astype(np.int64) % (256 * one)).astype(f"u{dtype.itemsize}").view(dtype)


def labs() -> Iterator[Case]:
    kinds = [(kind, _LAB) for kind in ("uint8", "int8", "uint16", "int16", "float16", "float32", "float64")]
    kinds += [("uint8", _ICC_LAB), ("uint16", _ICC_LAB)]
    for (kind, space), planar, order in product(kinds, (False, True), "<>"):
        samples = stored(lab_of(colours()), kind, space)
        one = picture(samples, space, planar=planar, order=order, compression=8, predictor=2)
        name = (
            f"tiff-{'lab' if space == _LAB else 'icclab'}-{kind}-{planar:d}-{'le' if order == '<' else 'be'}"
        )
        yield Case(name, partial(tiff, one, order=order), colours(), tolerance=5)
    floats = lab_of(colours()).astype(np.float32)
    yield Case(
        "tiff-lab-float32-tiles", partial(tiff, tiles(floats, photometric=_LAB)), colours(), tolerance=5
    )
    odd = floats.copy()
    odd[0, 0], odd[0, 1], odd[0, 2] = (np.nan,) * 3, (1e30, 0, 0), (-5, 0, 0)
    expected = colours()
    expected[0, :3] = [(0, 0, 0), (255, 255, 255), (0, 0, 0)]
    yield Case("tiff-lab-float32-beyond", partial(tiff, picture(odd, _LAB)), expected, tolerance=5)


def refused() -> Iterator[Case]:
    names = {_LAB: "CIE Lab", _ICC_LAB: "ICC Lab", _ITU_LAB: "ITU Lab", _YCC: "YCbCr"}
    kinds = [(_LAB, "uint32"), (_LAB, "int32"), (_YCC, "int16"), (_YCC, "float32"), (_YCC, "uint32")]
    kinds += [(_ICC_LAB, kind) for kind in ("int8", "int16", "uint32", "float32")]
    kinds += [(_ITU_LAB, kind) for kind in ("uint8", "uint16", "float32")]
    for space, kind in kinds:
        one = picture(np.zeros((4, 6, 3), kind), space, tags={530: [1, 1]} if space == _YCC else {})
        name = f"tiff-space{space}-{kind}"
        yield Case(name, partial(tiff, one), reason="unsupported", says=f"{names[space]} colours")
    for kind, compression in product(("uint8", "uint16"), (1, 8)):
        one = picture(np.zeros((4, 6, 3), kind), _YCC, planar=True, compression=compression)
        one.tags[530] = [2, 1]
        name = f"tiff-ycc-subsampled-planes-{kind}-{compression}"
        yield Case(name, partial(tiff, one), reason="unsupported", says="subsampled")


def wide_yccs() -> Iterator[Case]:
    luma = grey() // 2 + 60
    parts = (luma, np.full_like(luma, 110), np.full_like(luma, 150))
    expected = of(Image.merge("YCbCr", [Image.fromarray(one) for one in parts]))
    wide = np.stack(parts, -1).astype(np.uint16) * 257
    for planar, order, compression in product((False, True), "<>", (1, 8)):
        one = picture(wide, _YCC, planar=planar, order=order, compression=compression, tags={530: [1, 1]})
        name = f"tiff-ycc16-{planar:d}-{'le' if order == '<' else 'be'}-{compression}"
        yield Case(name, partial(tiff, one, order=order), expected, tolerance=2)


def cases() -> Iterator[Case]:
    yield from labs()
    yield from refused()
    yield from wide_yccs()
