"""DNG files of known colours, with and without the camera's JPEG beside the sensor's values.

The camera sees exactly what sRGB means by red, green and blue, in white light: the sensor's values are linear
sRGB, and what has to come out can be computed by hand. Other raws have no encoder; they go the same way.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.imaging.hostile.case import Pixels
from tests.imaging.hostile.tiff_writer import Directory, tiff
from tests.imaging.hostile.wide import decoded

XYZ_TO_SRGB = (
    (3.2404542, -1.5371385, -0.4985314), (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)  # fmt: skip
RED, GREEN, BLUE = 0, 1, 2
BAYER = (RED, GREEN, GREEN, BLUE)
ORIENTATION, DNG_VERSION, COMPRESSION, JPEG = 274, 50706, 259, 7


def mosaic(pixels: Pixels) -> NDArray[np.uint16]:
    """[H, W] values of a sensor that sees these sRGB pixels, [H, W, 3]."""
    light = np.rint(decoded(np.arange(256) / 255) * 65535).astype(np.uint16)
    seen = np.empty(pixels.shape[:2], np.uint16)
    for colour, (down, across) in zip(BAYER, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        seen[down::2, across::2] = light[pixels[down::2, across::2, colour]]
    return seen


def _tags(orientation: int) -> list[tuple[Any, ...]]:
    matrix = [part for row in XYZ_TO_SRGB for value in row for part in (round(value * 10_000), 10_000)]
    return [
        (DNG_VERSION, "B", 4, (1, 4, 0, 0), True),
        (50708, "s", 0, "Sightline test camera", True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, BAYER, True),
        (50717, "H", 1, 65535, True),
        (50721, "2i", 9, tuple(matrix), True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),
        (ORIENTATION, "H", 1, orientation, True),
    ]


def dng(pixels: Pixels, orientation: int = 1) -> bytes:
    """The sensor's values alone."""
    file = BytesIO()
    extra = _tags(orientation)
    tifffile.imwrite(file, mosaic(pixels), photometric="CFA", extratags=extra, metadata=None)
    return file.getvalue()


def dng_with_preview(pixels: Pixels, preview: bytes, size: tuple[int, int], orientation: int = 1) -> bytes:
    """The camera's JPEG of ``size`` (width, height) in front, the sensor's values in a directory inside."""
    height, width = pixels.shape[:2]
    front = {
        254: 1, 256: size[0], 257: size[1], 258: [8, 8, 8], COMPRESSION: JPEG, 262: 6, 277: 3, 278: size[1],
        271: b"Sightline\0", 272: b"Test camera\0", ORIENTATION: orientation,
        DNG_VERSION: bytes([1, 4, 0, 0]),
    }  # fmt: skip
    sensor = {
        254: 0, 256: width, 257: height, 258: [16], COMPRESSION: 1, 262: 32803, 277: 1, 278: height,
        33421: [2, 2], 33422: bytes(BAYER), 50717: 65535,
    }  # fmt: skip
    inside = Directory(sensor, [mosaic(pixels).astype("<u2").tobytes()])
    return tiff(Directory(front, [preview], [inside]))
