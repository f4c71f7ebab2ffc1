"""Pictures too large to be handed on whole: upright RGB at a half, a third, … of their size.

A JPEG is decoded at that size already. Others are decoded whole and converted strip by strip, so that the
conversion needs little more than the picture itself.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING, Final

from PIL import Image

from sightline.imaging.colour import to_upright_rgb, turned_upright

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from sightline.imaging.limits import Limits

_STRIP_PIXELS: Final = 4_000_000
_JPEG_SCALES: Final = (2, 4, 8)
"""Scales at which libjpeg decodes."""
_DEEP: Final = ("I", "F")
"""Grey whose range is that of the whole picture."""
_MEAN_MODES: Final = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Modes in which Pillow gives the mean of a square (weighted by opacity), and not of palette indexes."""
_KEPT: Final = ("transparency", "icc_profile")
"""What a strip has to know of its picture; not which way is up."""


def upright_rgb_within(opened: ImageFile, limits: Limits) -> Image.Image:
    """Upright RGB with at most ``limits.whole_pixels``. Raises whatever Pillow raises."""
    pixels = opened.width * opened.height
    if pixels <= limits.whole_pixels:
        return to_upright_rgb(opened)
    factor = ceil(sqrt(pixels / limits.whole_pixels))
    if opened.format in ("JPEG", "MPO"):
        scale = next((one for one in _JPEG_SCALES if one >= factor), _JPEG_SCALES[-1])
        opened.draft(None, (opened.width // scale, opened.height // scale))
        rgb = to_upright_rgb(opened)
        return rgb if scale >= factor else rgb.reduce(ceil(factor / scale))
    if opened.mode in _DEEP or opened.mode.startswith("I;"):
        return to_upright_rgb(opened).reduce(factor)
    return turned_upright(_by_strips(opened, factor), opened)


def _by_strips(opened: ImageFile, factor: int) -> Image.Image:
    """RGB, not turned, [ceil(H / factor), ceil(W / factor)]: each pixel the mean of a square."""
    opened.load()
    width, height = opened.size
    reduced = Image.new("RGB", (ceil(width / factor), ceil(height / factor)))
    rows = max(1, _STRIP_PIXELS // (width * factor)) * factor
    for top in range(0, height, rows):
        strip = opened.crop((0, top, width, min(height, top + rows)))
        strip.info = {name: opened.info[name] for name in _KEPT if name in opened.info}
        reduced.paste(_small(strip, factor), (0, top // factor))
    return reduced


def _small(strip: Image.Image, factor: int) -> Image.Image:
    """RGB of a strip. Made small first where that is the same, since few pixels convert sooner than many."""
    if strip.mode in _MEAN_MODES and "transparency" not in strip.info:
        return to_upright_rgb(strip.reduce(factor))
    return to_upright_rgb(strip).reduce(factor)
