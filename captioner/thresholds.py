"""From which match probability on a text is kept: as it is set, or found from labelled texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sightline.captioner.settings import KEEP_ABOVE
from sightline.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Z_95: Final = 1.959963984540054
"""Standard normal quantile of a two-sided interval of 95 %."""


@dataclass(frozen=True)
class Found:
    """What the labels say about a threshold. ``precision``: the right part of the labelled texts that are
    kept, with the lower end of its 95 % interval by Wilson; ``recall``: the kept part of the right ones."""

    asked: float
    labels: int
    kept: int
    precision: float
    lower_bound: float
    recall: float


@dataclass(frozen=True)
class Threshold:
    """A text is kept from the match probability ``keep_above`` on; ``found``: None when it was set."""

    keep_above: float = KEEP_ABOVE
    found: Found | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.keep_above <= 1.0:  # also not a number
            raise InputError(f"A match probability lies between 0 and 1, so not {self.keep_above}.")

    def keeps(self, probability: float) -> bool:
        """Whether a text with this match probability stays."""
        return probability >= self.keep_above

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Threshold:
        """What `to_json` gave."""
        found = raw["found"]
        return cls(raw["keep_above"], None if found is None else Found(**found))


def smallest_threshold(
    probabilities: NDArray[np.float64], right: NDArray[np.bool_], precision: float
) -> Threshold:
    """The smallest threshold at which the kept ones of labelled texts ``[N]`` have that precision.

    Among equal probabilities all are kept or none. It lies half-way to the next lower probability, at 0 when
    all are kept.

    Raises:
        InputError: no labels, none of them right, a precision that is none, or none reaches it.
    """
    if not 0.0 < precision <= 1.0:
        raise InputError(f"A precision lies above 0 and is at most 1, so not {precision}.")
    if not len(right) or not right.any():
        raise InputError("The labels name no right text; a threshold needs right ones and wrong ones.")
    order = np.argsort(-probabilities, kind="stable")
    sorted_N, right_N = probabilities[order], np.cumsum(right[order])
    ends = np.flatnonzero(np.append(sorted_N[1:] != sorted_N[:-1], True))  # the last of equal ones
    precisions = right_N[ends] / (ends + 1)
    good = np.flatnonzero(precisions >= precision)
    if not len(good):
        best = int(np.argmax(precisions))
        raise InputError(
            f"No threshold reaches a precision of {precision:g} on these {len(right)} labels; the "
            f"best is {precisions[best]:.3f}, from {sorted_N[ends[best]]:.3f} on: ask for less or label more."
        )
    end = int(ends[good[-1]])
    kept, hits = end + 1, int(right_N[end])
    below = sorted_N[kept] if kept < len(sorted_N) else None
    keep_above = 0.0 if below is None else float((sorted_N[end] + below) / 2)
    found = Found(
        precision, len(right), kept, hits / kept, wilson_lower_bound(hits, kept), hits / int(right_N[-1])
    )
    return Threshold(keep_above, found)


def wilson_lower_bound(hits: int, trials: int, z: float = Z_95) -> float:
    """The lower end of the score interval of a proportion (Wilson, JASA 22, 1927)."""
    part, spread = hits / trials, z * z / trials
    centre = part + spread / 2
    return max(0.0, (centre - math.sqrt(spread * (part * (1 - part) + spread / 4))) / (1 + spread))
