"""One small grey picture laid over another: the affine map of the best enhanced correlation.

Maps ``[2,3]`` lead from places in the first picture to places in the second; each spans -1 to 1 both ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grey = NDArray[np.float32]
    Map = NDArray[np.float64]

_STEP: Final = 2e-4
"""A round that moves no corner further ends the search."""
_APART: Final = -1.0


def align(one: Grey, other: Grey, start: Map, rounds: int) -> tuple[Map, float]:
    """The map after so many rounds, and the correlation before the last; -1 where they came apart."""
    across, along = _places(one.shape)
    slopes = np.gradient(other)
    down, right = slopes[0] * (other.shape[0] / 2), slopes[1] * (other.shape[1] / 2)
    basis = np.stack([across, along, np.ones_like(across)], axis=-1)
    place, correlation = start, _APART
    for _ in range(rounds):
        weights, inside = _corners(other.shape, place, one.shape)
        if inside.mean() < 0.5:
            return place, _APART
        mine, theirs = (part - part.mean() for part in (one[inside], _read(other, weights)[inside]))
        sides = (basis[inside] * _read(part, weights)[inside][:, None] for part in (right, down))
        slope = np.concatenate(list(sides), axis=1)
        step, correlation = _step(mine, theirs, slope - slope.mean(axis=0))
        place = place + step
        if np.abs(step).max() < _STEP:
            break
    return place, correlation


def _step(mine: Grey, theirs: Grey, slope: Grey) -> tuple[Map, float]:
    """One round of forward additive ECC: equations 16 to 21 of Evangelidis and Psarakis (2008)."""
    inverse = np.linalg.inv((slope.T @ slope).astype(np.float64) + 1e-3 * np.eye(slope.shape[1]))
    by_mine, by_theirs = slope.T @ mine, slope.T @ theirs
    both, alone = float(mine @ theirs), float(theirs @ theirs)
    correlation = both / (np.sqrt(alone * float(mine @ mine)) + 1e-6)
    below = both - by_mine @ inverse @ by_theirs
    if below > 1e-9:
        gain = (alone - by_theirs @ inverse @ by_theirs) / below
    else:
        across = max(float(by_mine @ inverse @ by_theirs), 1e-9)
        gain = max(1.0, np.sqrt(float(by_theirs @ inverse @ by_theirs) / across))
    step = inverse @ (slope.T @ (gain * mine - theirs))
    return step.reshape(2, 3), float(correlation)


def at_map(picture: Grey, place: Map, shape: tuple[int, ...]) -> tuple[Grey, NDArray[np.bool_]]:
    """The picture ``[h,w]`` as seen from another of ``shape`` ``[H,W]``, and where that looks into it."""
    weights, inside = _corners(picture.shape, place, shape)
    return _read(picture, weights), inside


def box_mean(picture: Grey, radius: int) -> Grey:
    """The mean over the square around each place ``[H,W]``; the border goes on beyond itself."""
    side = 2 * radius + 1
    padded = np.pad(picture, ((radius + 1, radius), (radius + 1, radius)), mode="edge")
    sums = padded.astype(np.float64).cumsum(0).cumsum(1)
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    mean: Grey = (total / side**2).astype(np.float32)
    return mean


def _places(shape: tuple[int, ...]) -> tuple[Grey, Grey]:
    """Across and along ``[H,W]`` of the centres of pixels."""
    along, across = ((np.arange(length) + 0.5) * 2 / length - 1 for length in shape)
    grid = np.meshgrid(across.astype(np.float32), along.astype(np.float32))
    return grid[0], grid[1]


Corners = tuple["NDArray[np.intp]", "Grey", "Grey"]
"""Upper left pixel in the flattened picture, and how far to the right and down from it; ``[H,W]`` each."""


def _corners(seen: tuple[int, ...], place: Map, shape: tuple[int, ...]) -> tuple[Corners, NDArray[np.bool_]]:
    across, along = _places(shape)
    height, width = seen
    x = (place[0, 0] * across + place[0, 1] * along + place[0, 2] + 1) * (width / 2) - 0.5
    y = (place[1, 0] * across + place[1, 1] * along + place[1, 2] + 1) * (height / 2) - 0.5
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    x, y = x.clip(0, width - 1.001), y.clip(0, height - 1.001)
    left, top = x.astype(np.intp), y.astype(np.intp)
    return (top * width + left, (x - left).astype(np.float32), (y - top).astype(np.float32)), inside


def _read(picture: Grey, corners: Corners) -> Grey:
    """Bilinear."""
    first, across, down = corners
    flat, width = picture.ravel(), picture.shape[1]
    upper = flat[first] + (flat[first + 1] - flat[first]) * across
    lower = flat[first + width] + (flat[first + width + 1] - flat[first + width]) * across
    seen: Grey = upper + (lower - upper) * down
    return seen
