"""When nothing further is to be expected: the law by which a count of pictures stops.

A query's pictures are judged in ITC order. Whether one reaches τ is taken as a logistic regression on its ITC
score, with an intercept and a slope of each query's own that are drawn around those of the collection: their
mean and covariance come from queries that were judged here before (a MAP estimate by Newton's method with a
Gaussian prior, as in Gelman et al., Bayesian Data Analysis, 3rd edition, sections 16.3 and 5). The sum of
chances over everything that is not judged yet is the expected number of further hits, and bounds the chance
that there is any (Boole).

A model is not the world, so the law is tried on those queries: how low was that number at a moment when
something was still to come? Where more than the bound allows would have been stopped too soon, the law stops
at a lower number, such that among n + 1 exchangeable queries at most floor(``BOUND`` · (n + 1)) are (split
conformal prediction: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005).

Shapes: n pictures of one query, in ITC order. Arrays are fp64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Hits = NDArray[np.bool_]

BOUND: Final = 0.05
"""The chance that something further reaches τ, below which a count stops."""
LEAST_QUERIES: Final = 20
"""So many must have been judged for a law: of fewer, none may be stopped too soon to keep the bound."""
_AT_LEAST: Final = 8
"""Added to the rank of the last hit: a query without any is judged for a while, too."""
_UNLEARNED: Final = 6
"""Without a law: judged to so many times the depth of the last hit."""
_LEARNED: Final = 1.5
"""With one, at least to so many times, whatever it says."""
_STEPS: Final = 40
_SPREAD: Final = (3.0, 2.0)
"""Standard deviations of intercept and slope around the collection's while a single query is fitted."""
_WIDE: Final = np.array([0.0, 3.0]), np.diag([100.0, 25.0])
"""What is believed before anything was judged: the higher the ITC score, the likelier."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A query that was judged: ``itc [n]`` falling, and the match probabilities ``[n]``."""

    itc: Numbers
    probability: Numbers


@dataclass(frozen=True, eq=False)
class Left:
    """What is not judged yet: ITC scores that are known ``[m]``, falling, and how many lie below them."""

    itc: Numbers
    below: int


@dataclass(frozen=True, eq=False)
class Law:
    """What was learned for one τ. ``mean [2]`` and ``covariance [2,2]`` are of intercept and slope."""

    centre: float
    scale: float
    mean: Numbers
    covariance: Numbers
    most: float
    """The expected number of further hits below which it stops; at most ``BOUND``."""

    def expected(self, itc: Numbers, hits: Hits, left: Left) -> tuple[float, float]:
        """Further hits to be expected among what is left: in what is known of it, and below that."""
        weights = _fitted(self._scaled(itc), hits, self.mean, self.covariance)
        known = float(_chance(self._scaled(left.itc), weights).sum())
        if not left.below:
            return known, 0.0
        last = left.itc[-1:] if len(left.itc) else itc[-1:]
        # Where less ITC meant more hits, nothing could be said of what lies below.
        lowest = float(_chance(self._scaled(last), weights)[0]) if weights[1] > 0 else 1.0
        return known, lowest * left.below

    def _scaled(self, itc: Numbers) -> Numbers:
        return (itc - self.centre) / self.scale


def depths(upto: int) -> Iterator[int]:
    """How many are judged when it is asked whether to stop; whole batches, the same for every query."""
    depth = 32
    while depth < upto:
        yield depth
        depth += max(32, depth // 8 // 16 * 16)
    yield upto


def is_deep(depth: int, hits: Hits, law: Law | None) -> bool:
    """Whether enough was judged below the last hit."""
    last = int(np.flatnonzero(hits)[-1]) + 1 if hits.any() else 0
    return depth >= (_UNLEARNED if law is None else _LEARNED) * (last + _AT_LEAST)


def learn(queries: Sequence[Judged], least: float) -> Law | None:
    """The law for a match probability of ``least``; None where too few queries were judged."""
    usable = [one for one in queries if len(one.itc)]
    if len(usable) < LEAST_QUERIES:
        return None
    itc = np.concatenate([one.itc for one in usable])
    hits = np.concatenate([one.probability >= least for one in usable])
    scale = max(float(itc.std()), 1e-6)
    centre = _even(itc, hits, scale)
    pooled = _fitted((itc - centre) / scale, hits, *_WIDE)
    data = [((one.itc - centre) / scale, one.probability >= least) for one in usable]
    around = np.diag(np.square(_SPREAD))
    single = np.array([_fitted(x, y, pooled, around) for x, y in data])
    mean, covariance = single.mean(axis=0), np.cov(single.T) + 0.1 * np.eye(2)
    law = Law(centre, scale, mean, covariance, BOUND)
    return Law(centre, scale, mean, covariance, _calibrated(law, usable, least))


def _even(itc: Numbers, hits: Hits, scale: float) -> float:
    """The ITC score where a hit is as likely as none, as far as there are such scores: around it intercept
    and slope vary independently."""
    mean = float(itc.mean())
    intercept, slope = _fitted((itc - mean) / scale, hits, *_WIDE)
    even = mean - scale * intercept / slope if slope > 0 else mean
    return float(np.clip(even, itc.min(), itc.max()))


def _calibrated(law: Law, queries: Sequence[Judged], least: float) -> float:
    """The number to stop at, so that at most the allowed share of the queries is stopped too soon."""
    lowest = sorted(_lowest(law, one, least) for one in queries)
    allowed = int(BOUND * (len(queries) + 1))
    return min(BOUND, lowest[allowed - 1])


def _lowest(law: Law, query: Judged, least: float) -> float:
    """The least that was expected of it at a moment when it might have stopped and had hits to come."""
    hits = query.probability >= least
    last = int(np.flatnonzero(hits)[-1]) + 1 if hits.any() else 0
    found = np.inf
    for depth in depths(len(hits)):
        if depth >= last:
            break
        if is_deep(depth, hits[:depth], law):
            known, _ = law.expected(query.itc[:depth], hits[:depth], Left(query.itc[depth:], 0))
            found = min(found, known)
    return float(found)


def _chance(x: Numbers, weights: Numbers) -> Numbers:
    chance: Numbers = 1 / (1 + np.exp(-np.clip(weights[0] + weights[1] * x, -500, 500)))
    return chance


def _fitted(x: Numbers, hits: Hits, mean: Numbers, covariance: Numbers) -> Numbers:
    """Intercept and slope ``[2]`` with the highest posterior density, by damped Newton steps."""
    inputs = np.stack([np.ones_like(x), x], axis=1)
    weights = mean.copy()
    prior: Numbers = np.linalg.inv(covariance).astype(np.float64)
    value = _density(inputs, hits, weights, mean, prior)
    for _ in range(_STEPS):
        chance = _chance(x, weights)
        gradient = inputs.T @ (hits - chance) - prior @ (weights - mean)
        curvature = inputs.T @ (inputs * (chance * (1 - chance))[:, None]) + prior
        step = np.linalg.solve(curvature, gradient)
        while (new := _density(inputs, hits, weights + step, mean, prior)) < value and np.abs(
            step
        ).max() > 1e-9:
            step = step / 2
        weights, gained, value = weights + step, new - value, new
        if gained < 1e-9:
            break
    return weights


def _density(inputs: Numbers, hits: Hits, weights: Numbers, mean: Numbers, prior: Numbers) -> float:
    """The logarithm of the posterior density, but for a constant; it is concave."""
    margins = np.where(hits, 1.0, -1.0) * (inputs @ weights)
    off = weights - mean
    return float(-np.logaddexp(0, -margins).sum() - off @ prior @ off / 2)
