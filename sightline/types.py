"""Types that cross package borders. A name that ends in letters says its axes: ``tokens_NQD``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
"""One decoded picture, ``[H, W, 3]``, sRGB, upright."""

Keys = NDArray[np.int64]
"""Keys of images."""

Mask = NDArray[np.bool_]
"""Which of several are meant."""

Vector = NDArray[np.float32]
"""One text vector ``[D]`` or several ``[T,D]``, of length 1."""

Half = NDArray[np.float16]
"""Query tokens, patches, or the scales of codes, as they are stored."""

Codes = NDArray[np.int8]
"""Patches as a codec keeps them."""
