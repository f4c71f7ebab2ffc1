"""What is better than what: paired differences with bootstrap intervals.

Two orders of the same queries are compared query by query, so that what makes a query easy or hard for both
drops out; pictures are resampled with all of their captions (``metrics.bootstrap_interval``).

``R`` queries · ``C`` what is searched · ``k`` candidates that ITM judges. All values are shares of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sightline.evaluation import metrics
from sightline.evaluation.metrics import RECALL_AT, Ranks

Against = Literal["chance", "itc", "before"]
"""An order at random, ITC's order, or the order of the same score before training."""
Side = Literal["text_to_image", "image_to_text"]
SIDES: tuple[Side, ...] = ("text_to_image", "image_to_text")
MRR = "MRR"
MEASURES = (*(f"R@{at}" for at in RECALL_AT), MRR)

PerQuery = Mapping[str, NDArray[np.float64]]
"""For each of ``MEASURES`` what each query contributes, ``[R]``."""


@dataclass(frozen=True)
class Difference:
    """A mean over queries, and its 95 % paired bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """``score`` (ITM's at this k) minus ``against``, by measure."""

    side: Side
    score: str
    against: Against
    k: int | None
    differences: dict[str, Difference]

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Comparison:
        """What ``asdict`` made."""
        differences = {name: Difference(**value) for name, value in raw["differences"].items()}
        return cls(**{**raw, "differences": differences})


@dataclass(frozen=True)
class Answers:
    """The ranks that a report was made of, for another report to be compared with: one entry a row of its
    table; ``image_of_text`` says which texts belong together.
    """

    image_of_text: Sequence[int]
    text_to_image: Sequence[Sequence[int]]
    image_to_text: Sequence[Sequence[int]]

    def of(self, side: Side, row: int) -> PerQuery:
        """What each query contributes in one direction and one row."""
        ranks = self.text_to_image if side == "text_to_image" else self.image_to_text
        return of_ranks(np.array(ranks[row], dtype=np.int64))

    def groups(self, side: Side) -> NDArray[np.int64]:
        """Which queries are resampled together."""
        if side == "text_to_image":
            return np.array(self.image_of_text, dtype=np.int64)
        return np.arange(len(self.image_to_text[0]))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def of_ranks(ranks: Ranks) -> PerQuery:
    """Hits and reciprocal ranks of ranks from 0, ``[R]``."""
    hits = {f"R@{at}": (ranks < at).astype(np.float64) for at in RECALL_AT}
    return {**hits, MRR: 1.0 / (1.0 + ranks.astype(np.float64))}


def of_chance(relevant: NDArray[np.int64], k: int, unjudged: Ranks) -> PerQuery:
    """What is expected of a random order of k candidates.

    ``relevant`` ``[R]`` is how many of a query's candidates are right; where none is, its rank stays
    ``unjudged`` ``[R]``. With m right ones, the first j places hold none of them with probability
    S(j) = ∏ (k - m - i) / (k - i) over i < j.
    """
    table = {m: _expected(m, k) for m in np.unique(relevant).tolist() if m > 0}
    left = of_ranks(unjudged)
    return {
        name: np.array([table[m][name] if m else left[name][row] for row, m in enumerate(relevant.tolist())])
        for name in MEASURES
    }


def compare(
    side: Side, score: str, against: Against, k: int | None,
    ours: PerQuery, theirs: PerQuery, groups: NDArray[np.int64],
) -> Comparison:  # fmt: skip
    """Ours minus theirs; ``groups`` ``[R]`` says which queries are resampled together."""
    paired = np.stack([ours[name] - theirs[name] for name in MEASURES], axis=1)
    intervals = metrics.bootstrap_intervals(paired, groups)
    differences = {
        name: Difference(float(mean), float(low), float(high))
        for name, mean, (low, high) in zip(MEASURES, paired.mean(axis=0), intervals, strict=True)
    }
    return Comparison(side, score, against, k, differences)


def _expected(m: int, k: int) -> dict[str, float]:
    places = np.arange(k)
    none_yet = np.concatenate([[1.0], np.cumprod(np.maximum(0, k - m - places) / (k - places))])
    first_here = none_yet[:-1] - none_yet[1:]
    hits = {f"R@{at}": 1.0 - float(none_yet[min(at, k)]) for at in RECALL_AT}
    return {**hits, MRR: float((first_here / (1 + places)).sum())}
