"""Wide colours by the published numbers: what sRGB is left of Display P3 and Rec. 2020, and curves of HDR."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.imaging.hostile.case import Pixels

P3_TO_SRGB = np.array(
    [[1.2249401, -0.2249402, 0.0], [-0.0420569, 1.0420571, 0.0], [-0.0196376, -0.0786361, 1.0982735]]
)
"""Linear light, as CSS Color 4 gives the matrices."""
REC2020_TO_SRGB = np.array(
    [[1.6604910, -0.5876411, -0.0728499], [-0.1245505, 1.1328999, -0.0083494],
     [-0.0181508, -0.1005789, 1.1187297]]
)  # fmt: skip


def decoded(values: NDArray[Any]) -> NDArray[np.float64]:
    """Light of sRGB samples, 0…1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def coded(light: NDArray[np.float64]) -> Pixels:
    """sRGB of 8 bits."""
    light = np.clip(light, 0, 1)
    values = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(values * 255).astype(np.uint8)


def from_p3(values: NDArray[Any], white: int = 255) -> Pixels:
    """sRGB of Display P3 samples, [H, W, 3]."""
    return coded(decoded(values / white) @ P3_TO_SRGB.T)


def from_rec2020(values: NDArray[Any], white: int = 255) -> Pixels:
    """sRGB of samples with primaries of Rec. 2020 and the curve of sRGB."""
    return coded(decoded(values / white) @ REC2020_TO_SRGB.T)
