"""Which stops and bounds save the most work and keep the order, found by replaying full searches.

Every combination is replayed on cross-fitted predictions. A plan is chosen by all queries; what is reported
of it is what half of them would have chosen for the other half. Shapes: S stages · M queries · K pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightline.records import Effort
from sightline.reranker.cascade import FIRST, STEP, TOPS, Floats, Plan, Stage, Tails
from sightline.reranker.samples import Sample

OVERLAP: Final[dict[Effort, float]] = {"auto": 0.98, "quick": 0.90}
"""What must be kept of the best hits, in the mean."""
EPSILONS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Of each of the best hits; the expectation that may be left behind is so much times their number."""
MARGINS: Final = (1.0, 2.0, 3.0)
"""Standard errors by which a plan must be better than the goal; the first with which the report passes."""
LEAST_QUERIES: Final = 40

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Predicted:
    """What stages say of the pairs of samples; padding is never among the best."""

    guesses: Floats
    """``[S,M,K]``: match logits."""
    scores: Floats
    """``[S+1,M,K]``: ranking scores that follow, at last the true ones; −∞ for padding."""
    groups: NDArray[np.int64]
    """``[M]``: which text each is of."""

    @classmethod
    def of(
        cls, samples: Sequence[Sample], cross: Sequence[Sequence[Floats]], groups: NDArray[np.int64]
    ) -> Predicted:
        """``cross``: predictions ``[K]`` of each stage for each sample."""
        longest = max(len(one.itc) for one in samples)
        itc, logits = (
            _padded([getattr(one, name) for one in samples], longest) for name in ("itc", "logits")
        )
        guesses = np.stack([_padded(one, longest) for one in cross])
        absent = np.arange(longest) >= np.array([len(one.itc) for one in samples])[:, None]
        scores = np.concatenate([guesses, logits[None]]) + itc
        scores[:, absent] = -np.inf
        return cls(guesses, scores, groups)

    def at_least(self, pairs: int) -> Predicted:
        """The queries with so many pairs."""
        rows = np.isfinite(self.scores[0]).sum(axis=1) >= pairs
        groups = np.unique(self.groups[rows], return_inverse=True)[1]
        return Predicted(self.guesses[:, rows], self.scores[:, rows], groups)


@dataclass(frozen=True, eq=False)
class Option:
    """One way to go, replayed: what came of it for each query, ``[M]`` each."""

    stops: tuple[int, ...]
    epsilons: tuple[float, ...]
    overlap: Floats
    first: Floats
    work: Floats
    rates: Floats
    """``[M, steps]``: share of the pairs that came to each stop and to the end."""


@dataclass(frozen=True, eq=False)
class _Path:
    """Pairs that came to the last of some stages."""

    stages: tuple[int, ...]
    epsilons: tuple[float, ...]
    alive: tuple[Mask, ...]
    """``[M,K]`` after each step, at first all pairs."""


def plans(predicted: Predicted, stages: Sequence[Stage], layers: int) -> Iterator[Plan]:
    """A plan for each effort and each number of hits for which enough queries have twice as many pairs."""
    for top in TOPS:
        some = predicted.at_least(2 * top)
        if len(np.unique(some.groups)) < LEAST_QUERIES:
            return
        options = list(_options(some, stages, layers, top))
        for effort in OVERLAP:
            found = [_plan(options, some.groups, effort, top, margin) for margin in MARGINS]
            yield next((plan for plan in found if plan.passed), found[0])


def _plan(
    options: Sequence[Option], groups: NDArray[np.int64], effort: Effort, top: int, margin: float
) -> Plan:
    queries = np.arange(len(options[0].work))
    chosen = _chosen(options, effort, margin, queries)
    held_out = [
        (_chosen(options, effort, margin, queries[groups % 2 != half]), queries[groups % 2 == half])
        for half in (0, 1)
    ]
    overlap, first, work = (
        float(np.concatenate([getattr(one, name)[rows] for one, rows in held_out]).mean())
        for name in ("overlap", "first", "work")
    )
    # Where nothing is saved there is nothing to gain from a cascade.
    passed = overlap >= OVERLAP[effort] and first >= FIRST and work < 1.0
    rates = tuple(chosen.rates.mean(axis=0).tolist())
    return Plan(effort, top, chosen.stops, chosen.epsilons, passed, overlap, first, work, rates)


def _chosen(options: Sequence[Option], effort: Effort, margin: float, rows: NDArray[np.int64]) -> Option:
    """The option with the least work of those that keep enough of these queries' orders, else the best."""
    good = [
        one
        for one in options
        if _surely(one.overlap[rows], margin) >= OVERLAP[effort] and one.first[rows].mean() >= FIRST
    ]
    if good:
        return min(good, key=lambda one: float(one.work[rows].mean()))
    return max(options, key=lambda one: (float(one.overlap[rows].mean()), -float(one.work[rows].mean())))


def _surely(overlaps: Floats, margin: float) -> float:
    """Their mean less so many standard errors: what looks best by chance misses the goal on other queries."""
    return float(overlaps.mean() - margin * overlaps.std() / np.sqrt(len(overlaps)))


def _options(predicted: Predicted, stages: Sequence[Stage], layers: int, top: int) -> Iterator[Option]:
    """Every set of stops with every pair of bounds: one for ITC, one for all that follows."""
    whole = np.isfinite(predicted.scores[0])
    open_paths = [_Path((0,), (), (whole,))]
    while open_paths:
        path = open_paths.pop()
        for stage in range(path.stages[-1] + 1, len(stages) + 1):
            for longer in _longer(predicted, stages, path, stage, top):
                if stage < len(stages):
                    # What is lost on the way does not come back.
                    if _kept(predicted, longer.alive[-1], top).mean() >= min(OVERLAP.values()):
                        open_paths.append(longer)
                else:
                    yield _option(predicted, longer, stages, layers, top)


def _longer(
    predicted: Predicted, stages: Sequence[Stage], path: _Path, stage: int, top: int
) -> Iterator[_Path]:
    """The path with one more step, for each bound that may be used there."""
    free = tuple(top * share for share in EPSILONS)
    allowed = free if len(path.epsilons) < 2 else path.epsilons[-1:]
    came = advanced(predicted, stages[path.stages[-1]].tails, path, stage, top, allowed)
    for epsilon, alive in zip(allowed, came, strict=True):
        yield _Path((*path.stages, stage), (*path.epsilons, epsilon), (*path.alive, alive))


def advanced(
    predicted: Predicted, tails: Tails, path: _Path, stage: int, top: int, epsilons: Sequence[float]
) -> list[Mask]:
    """Which pairs come to ``stage``, for each bound: ``[M,K]`` each."""
    here, alive = path.stages[-1], path.alive[-1]
    scores_MK = np.where(alive, predicted.scores[here], -np.inf)
    order_MK = np.argsort(-scores_MK, axis=1, kind="stable")
    waits, guesses, then = (
        np.take_along_axis(one, order_MK, axis=1)
        for one in (scores_MK, predicted.guesses[here], np.where(alive, predicted.scores[stage], -np.inf))
    )
    counts = np.full((len(epsilons), len(alive)), alive.shape[1])
    for count in range(max(top, STEP), alive.shape[1], STEP):
        bar_M = np.partition(then[:, :count], count - top, axis=1)[:, count - top]
        rest = waits[:, count:]
        with np.errstate(invalid="ignore"):
            gaps = np.where(np.isfinite(rest), bar_M[:, None] - rest, np.inf)
        left_M = tails.chances(guesses[:, count:], gaps).sum(axis=1)
        for row, epsilon in enumerate(epsilons):
            counts[row] = np.where(left_M < epsilon, np.minimum(counts[row], count), counts[row])
    place_MK = np.argsort(order_MK, axis=1, kind="stable")
    return [alive & (place_MK < count_M[:, None]) for count_M in counts]


def _option(predicted: Predicted, path: _Path, stages: Sequence[Stage], layers: int, top: int) -> Option:
    pairs_M = path.alive[0].sum(axis=1)
    rates = np.stack([alive.sum(axis=1) / pairs_M for alive in path.alive[1:]], axis=1)
    stops = tuple(stages[stage].layers for stage in path.stages[1:-1])
    work = rates @ np.diff([0, *stops, layers]) / layers
    overlap, first = (_kept(predicted, path.alive[-1], best) for best in (top, 1))
    return Option(stops, path.epsilons, overlap, first, work, rates)


def _kept(predicted: Predicted, alive_MK: Mask, top: int) -> Floats:
    """``[M]``: share of the best ``top`` that are still there; all that are there keep their order."""
    best = np.argsort(-predicted.scores[-1], axis=1, kind="stable")[:, :top]
    kept: Floats = np.take_along_axis(alive_MK, best, axis=1).mean(axis=1)
    return kept


def _padded(rows: Sequence[NDArray[np.floating]], length: int) -> Floats:
    """``[M,K]``, zeros after each row's end."""
    padded = np.zeros((len(rows), length))
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded
