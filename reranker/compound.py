"""Candidates judged against every clause of a compound query, and the one probability that follows.

ITM judges each clause by itself; p is its match probability, calibrated as that of a text is
(sightline/blip/calibration.py; the raw one follows from the softmaxes in the same way). A
clause of weight w that a picture surely misses costs the share w of the match:

    all    product of 1 − w · (1 − p)
    none   product of 1 − w · p
    any    1 − W · (1 − v),  v = 1 − product of (1 − p · w / W),  W = the largest weight in ``any``

and the match probability is the product of the three: the clauses taken as independent (``any`` as a noisy
or). With all weights 1 that is p(A) · (1 − p(B)) for "A and not B". Everything is computed as logarithms in
float64, from both logits: where probabilities saturate the order does not.
Shapes: C clauses · K pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sightline.blip.calibration import Calibration
from sightline.blip.protocols import StagedMatcher
from sightline.errors import DeadlineError
from sightline.queries import Query
from sightline.reranker.judging import Pace, gathered, match_scores
from sightline.reranker.ordering import unscored
from sightline.reranker.records import Candidate, PatchSource, Ranked, Watch

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.protocols import Matcher
    from sightline.records import Precision

Floats = NDArray[np.float64]
_LEAST: Final = -700.0
"""Logarithms end here: exp of it is still a number."""


@dataclass(frozen=True, eq=False, slots=True)
class Judged:
    """One candidate: the first clause's match logit, and of every clause ``[C]`` the difference of its two
    logits, which are the log-odds of the softmax."""

    itm_logit: float
    differences: Floats


def log_probability(query: Query, odds_CK: Floats) -> Floats:
    """``[K]``: logarithm of the match probability, from log-odds in the order of ``query.clauses``."""
    log_yes, log_no = -np.logaddexp(0.0, -odds_CK), -np.logaddexp(0.0, odds_CK)
    total = np.zeros(odds_CK.shape[1])
    alternatives: list[int] = []
    for row, (role, clause) in enumerate(query.clauses):
        if role == "any":
            alternatives.append(row)
        else:
            total += _softened(log_yes[row] if role == "all" else log_no[row], clause.weight)
    if alternatives:
        weights = [clause.weight for clause in query.any]
        most = max(weights)
        missed = sum(
            # What is left when this one shows: 1 − p · w / W.
            _softened(log_no[row], weight / most)
            for row, weight in zip(alternatives, weights, strict=True)
        )
        total += _softened(_log_complement(np.asarray(missed)), most)
    return np.maximum(total, _LEAST)


def log_odds(log_p: Floats) -> Floats:
    """log p − log(1 − p), finite."""
    odds: Floats = log_p - _log_complement(log_p)
    return odds


def _softened(log_p: Floats, weight: float) -> Floats:
    """log(1 − w · (1 − p))."""
    if weight == 1:
        return log_p
    softened: Floats = np.logaddexp(np.log1p(-weight), np.log(weight) + log_p)
    return softened


def _log_complement(log_p: Floats) -> Floats:
    """log(1 − p), at least ``_LEAST``: each form where it is exact (Mächler 2012, log1mexp)."""
    below = np.minimum(log_p, 0.0)
    with np.errstate(divide="ignore"):
        found = np.where(below > -np.log(2), np.log(-np.expm1(below)), np.log1p(-np.exp(below)))
    complement: Floats = np.maximum(found, _LEAST)
    return complement


class CompoundOrdering:
    """For one call, in one thread. Patches of a batch are read once, whatever the number of clauses."""

    def __init__(
        self,
        matcher: Matcher,
        source: PatchSource,
        query: Query,
        pace: Pace,
        calibrations: Sequence[Calibration],
    ) -> None:
        """``calibrations``: of every clause, in the order of ``query.clauses``."""
        self._calibrations = calibrations
        self._matcher = matcher
        self._source = source
        self._query = query
        self._pace = pace
        self._layers = matcher.match_layers if isinstance(matcher, StagedMatcher) else 0

    def of(self, candidates: Sequence[Candidate], again: int, watch: Watch | None) -> list[Ranked]:
        """All candidates: those that were judged by falling match probability, the others by their ITC.

        Ties go by ITC rank, then by key. The best ``again`` are judged in float32, too, and stand above the
        rest. ``watch`` is told the order of what is judged by then, after every batch but those.
        """
        ordered = sorted(candidates, key=lambda one: (one.itc_rank, one.key))

        def told(judged: Mapping[int, Judged]) -> None:
            if watch is not None:
                watch(self._ranked(ordered, judged))

        judged = self._judge([one.key for one in ordered], "fast", told)
        best = self._ranked(ordered, judged)
        if again and not self._matcher.matches_exactly:
            self._pace.slow_down()
            anew = self._judge([one.key for one in best[:again]], "exact", None)
            best = self._ranked(ordered, anew) + [one for one in best if one.key not in anew]
        return best + [unscored(one) for one in ordered if one.key not in judged]

    def _judge(
        self,
        keys: Sequence[int],
        precision: Precision,
        told: Callable[[Mapping[int, Judged]], None] | None,
    ) -> dict[int, Judged]:
        """What was judged in time, against every clause."""
        judged: dict[int, Judged] = {}
        start = 0
        while start < len(keys) and (size := self._pace.next_batch()):
            batch = keys[start : start + size]
            try:
                judged.update(self._batch(batch, precision))
            except DeadlineError:
                break  # the model was not free in time: others use it as well
            self._pace.done(len(batch))
            start += len(batch)
            if told is not None:
                told(judged)
        return judged

    def _batch(self, keys: Sequence[int], precision: Precision) -> dict[int, Judged]:
        import torch

        judged: dict[int, Judged] = {}
        for found, patches in gathered(self._source, keys):
            with torch.inference_mode():
                here = patches.to(self._matcher.device)
                logits = {
                    text: self._matcher.match([text], here, precision)
                    for text in dict.fromkeys(self._query.texts)
                }
            differences_CK = np.stack([_differences(logits[text]) for text in self._query.texts])
            first = logits[self._query.positive[0].text][:, 1].double().tolist()
            judged.update({key: Judged(first[row], differences_CK[:, row]) for row, key in enumerate(found)})
        return judged

    def _ranked(self, candidates: Sequence[Candidate], judged: Mapping[int, Judged]) -> list[Ranked]:
        """Those that were judged, best first."""
        seen = [one for one in candidates if one.key in judged]
        if not seen:
            return []
        raw_CK = np.stack([judged[one.key].differences for one in seen], axis=1)
        odds_CK = self._calibrated(raw_CK)
        log_p = log_probability(self._query, odds_CK)
        raw = np.exp(log_probability(self._query, raw_CK))
        each_CK = np.exp(-np.logaddexp(0.0, -odds_CK))
        found = [
            Ranked(
                one.key, score, one.itc, one.itc_rank, judged[one.key].itm_logit, probability, self._layers,
                float(raw[row]), tuple(each_CK[:, row].tolist()),
            )
            for row, (one, score, probability) in enumerate(
                zip(seen, log_odds(log_p).tolist(), np.exp(log_p).tolist(), strict=True)
            )
        ]  # fmt: skip
        return sorted(found, key=lambda one: (-one.score, one.itc_rank, one.key))

    def _calibrated(self, differences_CK: Floats) -> Floats:
        """Log-odds ``[C,K]`` of every clause, as its calibration has them."""
        return np.array(
            [
                [calibration.log_odds(difference) for difference in row]
                for calibration, row in zip(self._calibrations, differences_CK.tolist(), strict=True)
            ]
        )


def _differences(logits_K2: Tensor) -> Floats:
    """``[K]``: match logit − the other one; `UnavailableError` when a logit is not finite."""
    match_scores(logits_K2)
    wide = logits_K2.double()
    differences: Floats = (wide[:, 1] - wide[:, 0]).cpu().numpy()
    return differences
