"""Samples of more than 8 bits, and numbers of unknown range, as 0…255."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    Sample = TypeVar("Sample", bound=np.generic)

SIXTEEN_BITS: Final = 65535
_FULL_32: Final = float((1 << 32) - 1)
_AT_ONCE: Final = 1 << 20
_IN_USE: Final = float(1 << 24)
"""32-bit samples above this use their full range: below it, the picture would be black."""


@lru_cache(maxsize=16)
def table(white: int) -> NDArray[np.uint8]:
    """[65536] lookup from 0…white to 0…255, rounded to the nearest, saturated above."""
    import numpy as np

    steps = np.minimum(np.arange(SIXTEEN_BITS + 1, dtype=np.int64), white)
    return ((steps * 510 + white) // (2 * white)).astype(np.uint8)


def stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers of unknown range, [H, …], to 0…255; see ``shares``."""
    import numpy as np

    return shares(values, 255, np.uint8)


def shares(values: NDArray[Any], white: int, kind: type[Sample]) -> NDArray[Sample]:
    """Numbers of unknown range, [H, …], to 0…white, rounded.

    The range is the smallest of 0…1 (float only), 0…255, 0…65535 and, for unsigned integers that use it,
    0…2³² − 1 that holds every value, else that of the values themselves. What is not finite becomes black.
    """
    import numpy as np

    low, high = _bounds(values)
    top = _top(values.dtype.kind, low, high)
    base = 0.0 if top is not None else low
    top = max(high - low, float(np.finfo(np.float64).tiny)) if top is None else top
    scaled = np.empty(values.shape, kind)
    for rows in _bands(values):
        real = values[rows].astype(np.float64)
        real[~np.isfinite(real)] = base
        scaled[rows] = np.rint(np.clip((real - base) / top, 0, 1) * white).astype(kind)
    return scaled


def _top(kind: str, low: float, high: float) -> float | None:
    tops = [1.0] if kind == "f" else []
    tops += [255.0, 65535.0]
    if kind == "u" and high > _IN_USE:
        tops.append(_FULL_32)
    return next((top for top in tops if low >= 0 and high <= top), None)


def _bounds(values: NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest finite value; zeros when there is none."""
    import numpy as np

    found: list[float] = []
    for rows in _bands(values):
        part = values[rows]
        finite = part[np.isfinite(part)]
        if finite.size:
            found += [float(finite.min()), float(finite.max())]
    return (min(found), max(found)) if found else (0.0, 0.0)


def _bands(values: NDArray[Any]) -> Iterator[slice]:
    """Rows at a time: copies as floats never hold the whole picture."""
    rows = max(1, _AT_ONCE * len(values) // max(1, values.size))
    return (slice(at, at + rows) for at in range(0, len(values), rows))
