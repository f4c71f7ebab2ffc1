"""Samples of more than 8 bits, and numbers of unknown range, as 0…255."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIXTEEN_BITS: Final = 65535
_FULL_32: Final = float((1 << 32) - 1)
_IN_USE: Final = float(1 << 24)
"""32-bit samples above this use their full range: below it, the picture would be black."""


@lru_cache(maxsize=16)
def table(white: int) -> NDArray[np.uint8]:
    """[65536] lookup from 0…white to 0…255, rounded to the nearest, saturated above."""
    import numpy as np

    steps = np.minimum(np.arange(SIXTEEN_BITS + 1, dtype=np.int64), white)
    return ((steps * 510 + white) // (2 * white)).astype(np.uint8)


def stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers of unknown range, of any shape, to 0…255; the range is that of ``shares``."""
    import numpy as np

    return np.rint(shares(values) * 255).astype(np.uint8)


def shares(values: NDArray[Any]) -> NDArray[np.float64]:
    """Numbers of unknown range, of any shape, to 0…1.

    The range is the smallest of 0…1 (float only), 0…255, 0…65535 and, for unsigned integers that use it,
    0…2³² − 1 that holds every value, else that of the values themselves. What is not finite becomes black.
    """
    import numpy as np

    kind = values.dtype.kind
    real = values.astype(np.float64)
    finite = np.isfinite(real)
    low, high = (float(real[finite].min()), float(real[finite].max())) if finite.any() else (0.0, 0.0)
    tops = [1.0] if kind == "f" else []
    tops += [255.0, 65535.0]
    if kind == "u" and high > _IN_USE:
        tops.append(_FULL_32)
    top = next((top for top in tops if low >= 0 and high <= top), None)
    if top is None:
        top, real = max(high - low, np.finfo(np.float64).tiny), real - low
    real[~finite] = 0
    return np.clip(real / top, 0, 1)
