"""Fits a calibration to pairs whose truth is known, and measures one. numpy alone.

Shapes: N pairs · F features · B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightline.blip.calibration import Calibration
from sightline.errors import InputError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BINS: Final = 15
"""As in Guo et al. 2017."""
LEAST_OF_EACH: Final = 10
"""Right pairs, and wrong ones, that a fit of two numbers needs."""
ISOTONIC_FROM: Final = 1000
"""So many right pairs, and as many wrong ones, before knots tell more than they make up."""
_ROUNDS: Final = 100
_RIDGE: Final = 1e-4
"""Where right and wrong pairs do not overlap the best slope is infinite; this keeps it finite."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a text and a picture whose truth is known."""

    differences: Floats
    """``[N]``: logit 1 − logit 0."""
    truth: Bools
    """``[N]``: whether the picture shows the text."""
    queries: NDArray[np.int64]
    """``[N]``: which query each belongs to; all pairs of one are in one part of a split."""

    def where(self, chosen: Bools) -> Pairs:
        """Some of them."""
        return Pairs(self.differences[chosen], self.truth[chosen], self.queries[chosen])


def split(pairs: Pairs, seed: int = 0) -> tuple[Pairs, Pairs]:
    """Half of the queries to fit with, the other half to measure; drawn from ``seed``."""
    queries = np.unique(pairs.queries)
    fitting = np.random.default_rng(seed).permutation(queries)[: (len(queries) + 1) // 2]
    chosen = np.isin(pairs.queries, fitting)
    return pairs.where(chosen), pairs.where(~chosen)


def fit(pairs: Pairs, isotonic_from: int | None = ISOTONIC_FROM) -> Calibration:
    """Temperature and bias by maximum likelihood or, from many labels, isotonic knots (None: never).

    Raises:
        InputError: too few right or wrong pairs, or the logits say nothing of the truth.
    """
    right, wrong = int(pairs.truth.sum()), int((~pairs.truth).sum())
    if min(right, wrong) < LEAST_OF_EACH:
        raise InputError(
            f"There are {right} right and {wrong} wrong pairs in the half of the queries that is fitted by; "
            f"it takes at least {LEAST_OF_EACH} of each: give more."
        )
    if isotonic_from is not None and min(right, wrong) >= isotonic_from:
        return Calibration("isotonic", knots=_knots(pairs))
    return _platt(pairs)


def _platt(pairs: Pairs) -> Calibration:
    features_NF = np.stack([pairs.differences, np.ones(len(pairs.truth))], axis=1)
    found = _logistic(features_NF, pairs.truth)
    if found[0] <= 0:
        raise InputError(
            "The model's logits are no higher for right pairs than for wrong ones; look at the labels."
        )
    return Calibration("platt", 1 / float(found[0]), float(found[1]))


def _logistic(features_NF: Floats, truth: Bools) -> Floats:
    """Weights ``[F]`` of the likeliest logistic regression, by Newton's method with halved steps."""
    weights = np.zeros(features_NF.shape[1])
    loss = _loss(features_NF, truth, weights)
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(features_NF @ weights, -500, 500)))
        gradient = features_NF.T @ (p - truth) + _RIDGE * weights
        curvature = (features_NF * (p * (1 - p))[:, None]).T @ features_NF
        step = np.linalg.solve(curvature + _RIDGE * np.eye(len(weights)), gradient)
        while (moved := _loss(features_NF, truth, weights - step)) > loss and np.abs(step).max() > 1e-9:
            step /= 2
        weights, before, loss = weights - step, loss, moved
        if before - loss < 1e-9 * max(1.0, before):
            break
    return weights


def _loss(features_NF: Floats, truth: Bools, weights: Floats) -> float:
    odds = features_NF @ weights
    return float((np.logaddexp(0, odds) - truth * odds).sum() + _RIDGE / 2 * (weights**2).sum())


def _knots(pairs: Pairs) -> tuple[tuple[float, float], ...]:
    """Pool adjacent violators (Ayer et al. 1955); a knot in the middle of each pool.

    No pool is surer than the number of pairs allows (the rule of succession), so that none says 0 or 1.
    """
    right = int(pairs.truth.sum())
    least, most = 1 / (len(pairs.truth) - right + 2), 1 - 1 / (right + 2)
    order = np.argsort(pairs.differences, kind="stable")
    pools: list[tuple[float, float, int]] = []  # sum of differences, of truths, count
    for difference, truth in zip(pairs.differences[order].tolist(), pairs.truth[order].tolist(), strict=True):
        pool = (difference, float(truth), 1)
        while pools and (pools[-1][1] / pools[-1][2] >= pool[1] / pool[2] or pools[-1][0] == pool[0]):
            before = pools.pop()
            pool = (before[0] + pool[0], before[1] + pool[1], before[2] + pool[2])
        pools.append(pool)
    return tuple((place / count, min(max(sure / count, least), most)) for place, sure, count in pools)


@dataclass(frozen=True)
class Bin:
    """Pairs whose probabilities are close: what was said of them on average, and what was so."""

    said: float
    so: float
    count: int


def bins(probabilities: Floats, truth: Bools, count: int = BINS) -> list[Bin]:
    """Equally wide ones from 0 to 1, without the empty ones."""
    place = np.minimum((probabilities * count).astype(np.int64), count - 1)
    chosen = [place == one for one in range(count)]
    return [
        Bin(float(probabilities[one].mean()), float(truth[one].mean()), int(one.sum()))
        for one in chosen
        if one.any()
    ]


def calibration_error(probabilities: Floats, truth: Bools, count: int = BINS) -> float:
    """ECE: how far what is said lies from what is so, averaged over the pairs (Naeini et al. 2015)."""
    found = bins(probabilities, truth, count)
    return sum(one.count * abs(one.said - one.so) for one in found) / max(len(probabilities), 1)


def probabilities(calibration: Calibration, pairs: Pairs) -> Floats:
    """``[N]`` of each pair."""
    return np.array([calibration.probability(float(difference)) for difference in pairs.differences])
