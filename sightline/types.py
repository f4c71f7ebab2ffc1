"""Types that cross package borders. A name that ends in letters says its axes: ``tokens_NQD``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sightline.patch_levels import AUTO_CODEC as AUTO_CODEC
from sightline.patch_levels import FP16 as FP16
from sightline.patch_levels import INT8 as INT8
from sightline.patch_levels import LATENT as LATENT
from sightline.patch_levels import NO_PATCHES as NO_PATCHES
from sightline.patch_levels import PatchLevel as PatchLevel

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

OnRemark = Callable[[str], None]
"""Told a sentence that whoever waits should read."""
OnProgress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""
