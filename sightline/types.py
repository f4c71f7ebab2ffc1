"""Types that cross package borders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
"""One decoded picture, ``[H, W, 3]``, sRGB, upright."""

OnProgress = Callable[[str, int, int], None]
"""Told how far a long run is: (stage, done, total)."""
