"""Types that cross package borders. A name that ends in letters says its axes: ``tokens_NQD``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

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
"""Compressed patches as they are stored, ``[N, P, C]``."""

PatchLevel = Literal["none", "fp16", "int8", "latent", "auto"]
"""What is stored of patches, from nothing over everything to a fitted latent; ``auto`` chooses."""
NO_PATCHES: Final = "none"
FP16: Final = "fp16"
INT8: Final = "int8"
AUTO_CODEC: Final = "auto"
LATENT: Final = "latent"
"""The level; segments name the fitted codec by its id instead, ``latent-…``."""

OnRemark = Callable[[str], None]
"""Told a sentence that whoever waits should read."""
OnProgress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""
