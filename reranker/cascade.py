"""A cascade: which pairs of a query need to go on through a matcher's layers, learned on a collection.

All candidates have an ITC score; those that may still be among the best go through some layers, the best of
these through more, the last of them through all. At every stage a probe predicts a pair's match logit from
what is known of it, and the errors that it made on other queries say how likely the pair ends above a bar.
numpy alone. Shapes: K pairs · H width of a state · C components · F features · B classes · G gaps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightline.records import Effort

Floats = NDArray[np.float64]

TOPS: Final = (1, 10, 20, 50, 100)
"""Numbers of hits for which bounds are learned; a search takes the next larger one."""


FIRST: Final = 0.995
"""Share of queries that must keep their first hit."""
STEP: Final = 8
"""Pairs between two looks at the bound: fewer at once make slow products."""


def stops_of(layers: int) -> tuple[int, ...]:
    """After which layers of a model with so many a pair may stop: a quarter, half, three quarters."""
    quarters = (max(1, round(layers * part / 4)) for part in (1, 2, 3))
    return tuple(sorted({stop for stop in quarters if stop < layers}))


@dataclass(frozen=True, eq=False)
class Probe:
    """Predicts match logits from states: linear in a state and in the products of its first components.

    Centred and scaled states are what is linear in; products are what tells "all that the text names" from
    "most of it".
    """

    mean: Floats
    """``[H]``."""
    axes: Floats
    """``[H,C]``: components of a centred state, each of unit variance."""
    weights: Floats
    """``[F]``, of `features`."""

    def features(self, pooled: Floats, itc: Floats) -> Floats:
        """``[K,F]``: the centred state ``[H]``, C · (C + 1) / 2 products, the ITC score and 1."""
        centred = pooled - self.mean
        components = centred @ self.axes
        rows, columns = np.triu_indices(components.shape[1])
        products = components[:, rows] * components[:, columns]
        ones = np.ones((len(itc), 1))
        return np.concatenate([centred, products, itc[:, None], ones], axis=1, dtype=np.float64)

    def predict(self, pooled: Floats, itc: Floats) -> Floats:
        """Match logits ``[K]`` of states ``[K,H]`` with ITC scores ``[K]``."""
        predicted: Floats = self.features(pooled, itc) @ self.weights
        return predicted


@dataclass(frozen=True, eq=False)
class Tails:
    """How likely a match logit is so far above its prediction, by the prediction: errors are small where a
    pair surely fits ill, and large among the best."""

    centres: Floats
    """``[B]``, ascending: mean prediction in each of B classes of equally many pairs."""
    least: float
    most: float
    """The smallest and the largest error, match logit − prediction, that was seen."""
    above: Floats
    """``[B,G]``: share of errors above G gaps, evenly from ``least`` to ``most``."""

    def chances(self, predicted: Floats, gaps: Floats) -> Floats:
        """How likely each error is above its gap, for predictions ``[…]``; linear between classes."""
        classes, steps = self.above.shape
        place = np.interp(predicted, self.centres, np.arange(classes))
        low = place.astype(np.int64)
        high, part = np.minimum(low + 1, classes - 1), place - low
        scaled = (gaps - self.least) / (self.most - self.least) * (steps - 1)
        column = np.clip(np.floor(scaled), 0, steps - 1).astype(np.int64)
        found = self.above[low, column] * (1 - part) + self.above[high, column] * part
        return np.where(scaled < 0, 1.0, np.where(scaled >= steps - 1, 0.0, found))


@dataclass(frozen=True, eq=False)
class Stage:
    """What is known of pairs that went through the first ``layers`` layers; 0: their ITC scores alone."""

    layers: int
    probe: Probe
    tails: Tails


@dataclass(frozen=True)
class Plan:
    """How pairs go when the best ``top`` count, and what that was worth on queries it was not chosen for."""

    effort: Effort
    top: int
    stops: tuple[int, ...]
    """Layers after which pairs may stop."""
    epsilons: tuple[float, ...]
    """At each of these and at the end: how many of the best may be expected among those left behind."""
    passed: bool
    """Whether it may be used."""
    overlap: float
    """Mean share of the best ``top`` of all that are its best, too."""
    first: float
    """Share of queries with the same best hit."""
    work: float
    """Layers that pairs went through, against all through all."""
    rates: tuple[float, ...]
    """Share of the candidates that came to each of ``stops``, and through all."""


@dataclass(frozen=True, eq=False)
class Cascade:
    """What was learned for one model on one collection."""

    fingerprint: str
    layers: int
    """Of the model."""
    queries: int
    """That it was fitted to."""
    stages: tuple[Stage, ...]
    """Of 0 and all stops, in order."""
    plans: tuple[Plan, ...]

    def course(self, effort: Effort | None, top: int) -> Course | None:
        """How to go when the best ``top`` count; None: all through all. ``effort`` None is ``auto``.

        Of the plans that passed, the one for the next larger number of hits; an ``auto`` one is good enough
        for ``quick``.
        """
        allowed = ("quick", "auto") if effort == "quick" else ("auto",)
        fitting = [
            one
            for one in self.plans
            # What keeps the best of more hits keeps the best of fewer only if it keeps the very first.
            if one.effort in allowed and one.top >= top and one.passed and one.first >= FIRST
        ]
        plan = min(fitting, key=lambda one: (one.top, allowed.index(one.effort)), default=None)
        if plan is None:
            return None
        used = tuple(one for one in self.stages if one.layers in (0, *plan.stops))
        return Course(plan, used, self.layers)

    @property
    def width(self) -> int:
        """H, of the states that its probes read; 0 where there are none."""
        return len(self.stages[-1].probe.mean)


@dataclass(frozen=True, eq=False)
class Course:
    """A plan for one query. Stage 0 is ITC; the stage after the last of ``stages`` is the end."""

    plan: Plan
    stages: tuple[Stage, ...]
    of: int
    """Layers of the model."""

    def layers(self, stage: int) -> int:
        """That pairs at ``stage`` went through."""
        return self.of if stage == len(self.stages) else self.stages[stage].layers

    def next(self, waiting: Waiting, through: Floats, stage: int, most: int) -> int:
        """How many of the pairs that wait should come to ``stage`` next, at most ``most``; 0: no more.

        ``through``: ranking scores, as they are known there, of those that came to it.
        """
        top = self.plan.top  # What was promised was measured with this bar, not with that of fewer hits.
        bar = bar_of(through, top)
        if math.isinf(bar):
            return min(most, len(waiting.predicted), max(top, STEP) - len(through))
        chances = np.empty(len(waiting.predicted))
        for number in np.unique(waiting.stages):
            of = waiting.stages == number
            tails = self.stages[number].tails
            chances[of] = tails.chances(waiting.predicted[of], bar - waiting.scores[of])
        count = needed(chances, self.plan.epsilons[stage - 1])
        # Plans were chosen by replays that look at the bound no oftener.
        steps = max(1, min(most, count) // STEP)
        return min(most, steps * STEP, len(waiting.predicted)) if count else 0


@dataclass(frozen=True, eq=False)
class Waiting:
    """Pairs that may come to a stage, best first."""

    predicted: Floats
    """``[K]``: match logits."""
    scores: Floats
    """``[K]``: the ranking scores that follow from them."""
    stages: NDArray[np.int64]
    """``[K]``: where each is."""


def needed(chances: Floats, epsilon: float) -> int:
    """How many of the pairs with these ``chances [K]``, the likeliest first, have to go on: as few as leave
    an expectation of less than ``epsilon`` pairs above the bar behind."""
    left = np.cumsum(chances[::-1])[::-1]
    return int(np.count_nonzero(left >= epsilon))


def bar_of(scores: Floats, top: int) -> float:
    """The ``top``-th best of some scores; −∞ while there are fewer."""
    if len(scores) < top:
        return -math.inf
    return float(np.partition(scores, len(scores) - top)[len(scores) - top])
