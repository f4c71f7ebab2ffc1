"""Checksums of what is read: XXH3, which costs less than the copy from the page cache (docs/decisions/076).

They find rot, not forgery. What names a whole file for good is its SHA-256 in the catalog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sightline.types import Mask

Sums = NDArray[np.int64]


def checksum(array: NDArray[Any]) -> int:
    """Of all bytes of a contiguous array, as an int64 holds it."""
    digest = xxhash.xxh3_64_intdigest(array.reshape(-1).view(np.uint8).data)
    return digest if digest < 1 << 63 else digest - (1 << 64)


def row_sums(array: NDArray[Any]) -> Sums:
    """``[N]``: the checksum of each row of ``[N, …]``; N is not 0, a row may be empty."""
    view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    size = len(view) // len(array)
    found = [xxhash.xxh3_64_intdigest(view[row * size : (row + 1) * size]) for row in range(len(array))]
    return np.array(found, np.uint64).view(np.int64)


def damaged_rows(array: NDArray[Any], expected: Sums) -> Mask:
    """``[N]``: which rows are not what was written."""
    damaged: Mask = row_sums(array) != expected
    return damaged


class Seal:
    """The checksum of several pieces one after another."""

    def __init__(self, pieces: Iterable[bytes | memoryview] = ()) -> None:
        self._sum = xxhash.xxh3_64()
        for piece in pieces:
            self.add(piece)

    def add(self, piece: bytes | memoryview) -> None:
        """The next piece."""
        self._sum.update(piece)

    def array(self) -> Sums:
        """``[1]``: as it is written."""
        return np.array([self._sum.intdigest()], np.uint64).view(np.int64)
