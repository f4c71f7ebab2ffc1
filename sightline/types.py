"""Types that cross package borders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
"""One decoded picture, ``[H, W, 3]``, sRGB, upright."""
