"""Samples of more than 8 bits, and numbers of unknown range, as 0…255."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

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


class Range(NamedTuple):
    """What becomes black, and how far above it white lies."""

    black: float
    white: float


def range_of(values: NDArray[Any]) -> Range:
    """The range of numbers, [H, …], that have no nominal one.

    It is the smallest of 0…1 (float only), 0…255, 0…65535 and, for unsigned integers that use it, 0…2³² − 1
    that holds every value, else that of the values themselves.
    """
    import numpy as np

    low, high = _bounds(values)
    tops = [1.0] if values.dtype.kind == "f" else []
    tops += [255.0, 65535.0]
    if values.dtype.kind == "u" and high > _IN_USE:
        tops.append(_FULL_32)
    top = next((top for top in tops if low >= 0 and high <= top), None)
    if top is not None:
        return Range(0.0, top)
    return Range(low, max(high - low, float(np.finfo(np.float64).tiny)))


def scaled(values: NDArray[Any], within: Range, white: int, kind: type[Sample]) -> NDArray[Sample]:
    """Numbers, [H, …], to 0…white, rounded. What is not finite becomes black."""
    import numpy as np

    result = np.empty(values.shape, kind)
    for rows in bands(len(values), values.size):
        real = values[rows].astype(np.float64)
        real[~np.isfinite(real)] = within.black
        shares = np.clip((real - within.black) / within.white, 0, 1)
        result[rows] = np.rint(shares * white).astype(kind)
    return result


def stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers of unknown range, [H, …], to 0…255."""
    import numpy as np

    return scaled(values, range_of(values), 255, np.uint8)


def bands(rows: int, samples: int) -> Iterator[slice]:
    """Rows at a time, for a picture of so many samples: wide copies never hold the whole picture."""
    step = max(1, _AT_ONCE * rows // max(1, samples))
    return (slice(at, min(at + step, rows)) for at in range(0, rows, step))


def _bounds(values: NDArray[Any]) -> tuple[float, float]:
    """The smallest and the largest finite value; zeros when there is none."""
    import numpy as np

    found: list[float] = []
    for rows in bands(len(values), values.size):
        part = values[rows]
        finite = part[np.isfinite(part)]
        if finite.size:
            found += [float(finite.min()), float(finite.max())]
    return (min(found), max(found)) if found else (0.0, 0.0)
