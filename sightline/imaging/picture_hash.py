"""A perceptual hash of a picture and of what is left when a little is cut away at its borders.

As the DCT hash of imagehash and pHash (Zauner 2010, "Implementation and benchmarking of perceptual image hash
functions"): the signs of low frequencies of the small grey picture. It has 128 bits in place of 64, and ten
*views* in place of one: the whole picture, and nine windows of 94 % of its width and height. A crop of up to
8 % differs from one of the whole picture's views by no more than a recoded copy does from the whole.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS: Final = 128
BYTES: Final = BITS // 8
WINDOW: Final = 0.94
VIEWS: Final = 10
"""The first one is the whole picture."""
_SIDE: Final = 32
_FREQUENCIES: Final = 13


def picture_hash(grey: Image.Image) -> bytes:
    """The views' hashes of a grey picture (mode ``L``), one behind the other: 10 × 16 bytes."""
    views = np.stack([_view(grey, left, top, size) for left, top, size in _windows()])
    waves = _cosines()
    spectra_VFF = waves @ views @ waves.T
    rows, columns = _lowest()
    return np.packbits(spectra_VFF[:, rows, columns] > 0, axis=1).tobytes()


def _windows() -> list[tuple[float, float, float]]:
    """Left, top and length of each view, as parts of width and height."""
    cut = 1 - WINDOW
    corners = [(left * cut, top * cut, WINDOW) for left, top in product((0.0, 0.5, 1.0), repeat=2)]
    return [(0.0, 0.0, 1.0), *corners]


def _view(grey: Image.Image, left: float, top: float, size: float) -> NDArray[np.float32]:
    """``[32,32]``, the mean taken away so that rounding cannot decide a sign."""
    width, height = grey.size
    large = min(width, height) >= 2 * _SIDE
    how = Image.Resampling.BOX if large else Image.Resampling.BILINEAR
    place = (left * width, top * height, (left + size) * width, (top + size) * height)
    small = np.asarray(grey.resize((_SIDE, _SIDE), how, place), np.float32)
    view: NDArray[np.float32] = small - small.mean()
    return view


def _cosines() -> NDArray[np.float32]:
    """The rows of the DCT-II ``[13,32]``."""
    frequency, place = np.arange(_FREQUENCIES)[:, None], np.arange(_SIDE) + 0.5
    rows: NDArray[np.float32] = np.cos(np.pi * frequency * place / _SIDE).astype(np.float32)
    return rows


def _lowest() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the 128 lowest frequencies but the constant one.

    Neighbours stand in different bytes: `sightline.searching.hash_neighbours` looks pairs of bytes up whole,
    and coarse waves, which seldom change, should be everywhere.
    """
    places = [(row, column) for row in range(_FREQUENCIES) for column in range(_FREQUENCIES) if row + column]
    places.sort(key=lambda place: (place[0] ** 2 + place[1] ** 2, place))
    order = np.arange(BITS).reshape(-1, 8).T.ravel()
    chosen = np.array(places[:BITS], np.intp)[order]
    return chosen[:, 0], chosen[:, 1]
