"""Whether two pictures are the same picture: made of each other by encoding, resizing, cropping, colouring.

Small grey images are laid over each other by the affine map that maximises their enhanced correlation
(Evangelidis and Psarakis 2008, "Parametric image alignment using enhanced correlation coefficient
maximization"; forward additive Gauss-Newton, coarse to fine), which brightness and contrast do not move. A
copy then fits everywhere: the map neither turns nor shears, one picture lies inside of the other, nothing has
moved by itself, and structure agrees in every place. Two exposures of one moment do not fit so, for the
camera moves, or what it sees. How far off is still the same was learned (`WEIGHTS`).

A map ``[2,3]`` leads from places in the first picture to places in the second; each spans -1 to 1 both ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from sightline.imaging.aligning import align, at_map, box_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grey = NDArray[np.float32]

SIDES: Final = (24, 64, 128)
"""The longer side of the pictures that are compared, coarse to fine."""
ROUNDS: Final = (8, 5, 5)
_HOPELESS: Final = 0.6
"""Below this correlation the finer levels are not tried."""
CERTAIN: Final = 6.0
"""Log odds of one look that need no second one."""
LEAST_COVER: Final = 0.90
"""A crop keeps more than this part of the width and of the height."""
MOST_OUTSIDE: Final = 0.02
"""One picture lies inside of the other but for one percent of its width: what a pan never does."""
MOST_COLOUR: Final = 30.0
"""Of 255: a blue car in place of a red one is another picture; a faded or tinted copy of it is none."""
_CONTRAST: Final = 0.03
"""Structure that is weaker than this part of the picture's variance counts as flat."""
WEIGHTS: Final = (-2.045, -2.036, -5.314, -0.870, 2.186, -43.496)
"""Of a logistic model over `Likeness.features` and one: fitted on 800 copies and 1,600 pairs with
burst neighbours of 160 photos (`benchmarks.dups_quality --fit`)."""
THRESHOLD: Final = 1.5
"""Above even odds: who is told of a duplicate may delete it."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """Small grey images of one picture, coarse to fine, and its aspect ratio."""

    levels: tuple[Grey, ...]
    colours: tuple[Grey, Grey]
    """Blue and red difference, as small as the coarsest level."""
    aspect: float


@dataclass(frozen=True)
class Likeness:
    """How two pictures lie on each other.

    ``cover``: the smaller part of width or height that one keeps of the other. ``outside``: how far neither
    lies inside of the other. ``turn``: the larger of the map's two off-diagonal numbers. ``motion``: root
    mean square of what places moved by themselves, ``most_motion`` what a tenth of them exceeds. ``wrong``:
    one minus the structural similarity of the worst percent of places. ``colour``: see `_colour`. Lengths in
    halves of a picture.
    """

    correlation: float
    cover: float
    outside: float
    turn: float
    motion: float
    most_motion: float
    wrong: float
    colour: float

    def features(self) -> NDArray[np.float64]:
        """What the log odds are linear in ``[5]``."""
        gaps = (self.turn + 2e-4, self.motion + 2e-4, self.most_motion + 2e-4, self.wrong + 3e-3)
        return np.log([*gaps, 1.0005 - self.correlation])

    def log_odds(self) -> float:
        """That both are the same picture, by what was learned; minus infinity where geometry excludes it."""
        if self.cover < LEAST_COVER or self.outside > MOST_OUTSIDE or self.colour > MOST_COLOUR:
            return -np.inf
        return float(self.features() @ WEIGHTS[:-1] + WEIGHTS[-1])


def sketch(picture: Image.Image) -> Sketch:
    """What is compared of an RGB picture. It is never enlarged."""
    grey, blue, red = picture.convert("YCbCr").split()
    longest = max(grey.size)
    sides = sorted({min(side, longest) for side in SIDES})
    levels = tuple(_smoothed(_at_side(grey, side)) for side in sides)
    colours = (_smoothed(_at_side(blue, sides[0])), _smoothed(_at_side(red, sides[0])))
    return Sketch(levels, colours, grey.width / grey.height)


def is_same(first: Sketch, second: Sketch) -> bool:
    """Whether one was made of the other: looked at from both, for the one look may get lost."""
    odds = [_log_odds(first, second), _log_odds(second, first)]
    return sum(odds) / 2 > THRESHOLD or max(odds) > CERTAIN


def _log_odds(one: Sketch, other: Sketch) -> float:
    found = likeness(one, other)
    return -np.inf if found is None else found.log_odds()


def likeness(first: Sketch, second: Sketch) -> Likeness | None:
    """None: they do not even roughly lie on each other, or one has hardly any structure."""
    if not LEAST_COVER**1.5 < first.aspect / second.aspect < LEAST_COVER**-1.5:
        return None
    place, correlation = np.eye(2, 3), 0.0
    one, other = first.levels[0], second.levels[0]
    for mine, theirs, rounds in zip(first.levels, second.levels, ROUNDS, strict=False):
        one, other = _equally_small(mine, theirs)
        place, correlation = align(one, other, place, rounds)
        if correlation < _HOPELESS or _is_elsewhere(place):
            return None
    colour = _colour(first.colours, second.colours, place)
    return Likeness(correlation, *_geometry(place), *_local(one, other, place), colour)


def _colour(one: tuple[Grey, Grey], other: tuple[Grey, Grey], place: NDArray[np.float64]) -> float:
    """The largest difference of colours, of 255, that no saturation and no tint of the whole explains."""
    shape = one[0].shape
    looks = [at_map(part, place, shape) for part in other]
    inside = looks[0][1]
    mine = np.stack([part[inside] for part in one])
    theirs = np.stack([part[inside] for part, _ in looks])
    mine, theirs = mine - mine.mean(axis=1, keepdims=True), theirs - theirs.mean(axis=1, keepdims=True)
    if (mine**2).sum() < (theirs**2).sum():
        mine, theirs = theirs, mine
    saturation = (mine * theirs).sum() / max(float((mine**2).sum()), 1e-6)
    apart = np.zeros((2, *shape), np.float32)
    apart[:, inside] = theirs - saturation * mine
    around = [box_mean(part, 1) for part in apart]  # at an edge that lies half a pixel off they cancel
    return float(np.hypot(*around).max())


def _is_elsewhere(place: NDArray[np.float64]) -> bool:
    """Whether a finer level could not mend where the pictures lie: twice as far off as is ever the same."""
    cover, outside, turn = _geometry(place)
    return cover < LEAST_COVER - 0.04 or outside > 0.06 or turn > 0.06


def _geometry(place: NDArray[np.float64]) -> tuple[float, float, float]:
    """Cover, outside and turn of a map."""
    scale, low = np.diag(place[:, :2]), place[:, 2] - np.diag(place[:, :2])
    high = low + 2 * scale
    cover = float(min(scale.min(), (1 / scale).min()))
    holds, held = max((low + 1).max(), (1 - high).max()), max((-1 - low).max(), (high - 1).max())
    return cover, float(min(holds, held)), float(max(abs(place[0, 1]), abs(place[1, 0])))


def _local(one: Grey, other: Grey, place: NDArray[np.float64]) -> tuple[float, float, float]:
    """Motion, most motion and wrong: what is left where the pictures overlap, contrast made equal."""
    seen, inside = at_map(other, place, one.shape)
    mine, theirs = one[inside], seen[inside]
    variance = float(mine.var())
    gain = float(np.cov(mine, theirs)[0, 1] / max(theirs.var(), 1e-6))
    first = np.where(inside, one - mine.mean(), 0)
    second = np.where(inside, (seen - theirs.mean()) * gain, 0)
    covered = inside.astype(np.float32)
    return *_motion(first, second, covered, variance), _wrong(first, second, covered, variance)


def _wrong(one: Grey, other: Grey, covered: Grey, variance: float) -> float:
    """One minus the lowest percent of the structural similarity (Wang and others 2004, without luminance)."""
    radius = max(2, round(max(one.shape) / 24))
    near = box_mean(covered, radius)
    of = [box_mean(each, radius) / np.maximum(near, 1e-6) for each in (one, other)]
    spread = [
        box_mean(left * right, radius) / np.maximum(near, 1e-6) - low * high
        for left, right, low, high in (
            (one, one, of[0], of[0]), (other, other, of[1], of[1]), (one, other, of[0], of[1]),
        )
    ]  # fmt: skip
    floor = _CONTRAST * variance + 1
    similar = (2 * spread[2] + floor) / (spread[0] + spread[1] + floor)
    return 1 - float(np.quantile(similar[near > 0.7], 0.01))


def _motion(one: Grey, other: Grey, covered: Grey, variance: float) -> tuple[float, float]:
    """Root mean square and upper tenth of windows' optical flow (Lucas and Kanade 1981).

    Weighted by how much structure each has.
    """
    radius = max(3, round(max(one.shape) / 10))
    down, right = (part * covered for part in np.gradient(other))
    left_over = (one - other) * covered
    products = (right * right, right * down, down * down, right * left_over, down * left_over, covered)
    xx, xy, yy, xe, ye, near = (box_mean(part, radius)[radius::radius, radius::radius] for part in products)
    weakest = (xx + yy) / 2 - np.sqrt(np.maximum((xx - yy) ** 2 / 4 + xy**2, 0))
    xx, yy = xx + 5e-4 * variance + 1e-6, yy + 5e-4 * variance + 1e-6
    determinant = xx * yy - xy * xy
    across, along = (yy * xe - xy * ye) / determinant, (xx * ye - xy * xe) / determinant
    squares = (across * 2 / one.shape[1]) ** 2 + (along * 2 / one.shape[0]) ** 2
    weight = np.where(near > 0.6, weakest / (weakest + 2e-3 * variance + 1e-6), 0)
    mean = (weight * squares).sum() / (weight.sum() + 1e-6)
    most = np.quantile((weight * np.sqrt(squares))[near > 0.6], 0.9) if (near > 0.6).any() else 0.0
    return float(np.sqrt(mean)), float(most)


def _equally_small(one: Grey, other: Grey) -> tuple[Grey, Grey]:
    """The larger one is made small: else it would show what the other cannot."""
    side = min(max(one.shape), max(other.shape))
    return _no_larger(one, side), _no_larger(other, side)


def _no_larger(image: Grey, side: int) -> Grey:
    return image if max(image.shape) <= side else _at_side(Image.fromarray(image), side)


def _at_side(grey: Image.Image, side: int) -> Grey:
    width, height = (max(8, round(length * side / max(grey.size))) for length in grey.size)
    return np.asarray(grey.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def _smoothed(image: Grey) -> Grey:
    """Weights 1 2 1 in both directions."""
    padded = np.pad(image, 1, mode="edge")
    tall = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return np.ascontiguousarray((tall[:, :-2] + 2 * tall[:, 1:-1] + tall[:, 2:]) / 4)
