"""Decoded samples of any depth as pictures of 8 bits, through the light that they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from sightline.imaging.depth import bands, table
from sightline.imaging.profiles import Light, to_srgb8

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def eight_bits(samples: NDArray[Any], bits: int, light: Light | None) -> Image.Image:
    """Samples of any depth as a picture of 8 bits, in bands: wide copies never hold the whole."""
    import numpy as np

    height, _width, channels = samples.shape
    colours = channels - 1 if channels in (2, 4) else channels
    result = np.empty(samples.shape, np.uint8)
    for rows in bands(height, samples.size):
        part = samples[rows] if bits == 8 else samples[rows] >> (16 - bits)
        eight = part if bits == 8 else table((1 << bits) - 1)[part]
        result[rows] = eight
        if light is not None:
            result[rows, :, :colours] = _lit(_sixteen(part[..., :colours], bits), light)
    return Image.fromarray(result if channels > 1 else result[..., 0])


def in_srgb(picture: Image.Image, light: Light) -> Image.Image:
    """A loaded picture of 8 bits (L, LA, RGB or RGBA), brought to sRGB; what is transparent stays so."""
    import numpy as np

    values = np.asarray(picture)
    return eight_bits(values.reshape(*values.shape[:2], -1), 8, light)


def _sixteen(samples: NDArray[Any], bits: int) -> NDArray[np.uint16]:
    import numpy as np

    white = (1 << bits) - 1
    wide: NDArray[np.uint16] = ((samples.astype(np.uint32) * 65535 + white // 2) // white).astype(np.uint16)
    return wide


def _lit(samples: NDArray[np.uint16], light: Light) -> NDArray[np.uint8]:
    """sRGB of samples of 0…65535; one channel has the first of three curves that are the same."""
    return to_srgb8(samples, light if samples.shape[-1] == len(light.curves) else Light(light.curves[:1]))
