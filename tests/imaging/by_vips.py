"""The same files read by libvips, which shares no code of its own with Pillow or with this project."""

from __future__ import annotations

import numpy as np
import pyvips
from numpy.typing import NDArray


def rgb_by_vips(data: bytes) -> NDArray[np.uint8] | None:
    """[H, W, 3] upright sRGB on white; None when libvips does not read the file to its end."""
    try:
        image = pyvips.Image.new_from_buffer(data, "", fail_on="truncated").autorot()
        if "icc-profile-data" in image.get_fields():
            try:
                image = image.icc_transform("srgb", embedded=True, intent="relative", depth=8).copy_memory()
            except pyvips.Error:
                image = image.colourspace("srgb")
        else:
            image = image.colourspace("srgb")
        if image.hasalpha():
            image = image.flatten(background=[255, 255, 255])
        pixels = np.asarray(image.cast("uchar").numpy())
    except pyvips.Error:
        return None
    pixels = pixels.reshape(image.height, image.width, -1)
    return np.ascontiguousarray(np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3)))
