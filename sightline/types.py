"""Types that cross package borders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]
"""One decoded picture, ``[H, W, 3]``, sRGB, upright."""

Half = NDArray[np.float16]
"""Tokens, patches and scales as they are stored."""
Codes = NDArray[np.int8]
"""Compressed patches as they are stored, ``[N, P, C]``."""

PatchLevel = Literal["none", "fp16", "int8", "latent"]
"""What is stored of patches, from nothing over everything to a fitted latent."""

OnProgress = Callable[[str, int, int], None]
"""(stage, done, total)."""

NO_PATCHES: Final = "none"
FP16: Final = "fp16"
INT8: Final = "int8"
LATENT: Final = "latent"
"""The level; segments name the fitted codec by its id instead, ``latent-…``."""
