"""Fits a cascade to samples, and measures it on queries that it was not fitted to.

Probes by ridge regression with the normal equations in fp64; what is measured is cross-fitted: the prediction
for a query comes from the other folds. Shapes: M samples · K pairs (padded) · H width · C components ·
F features · B classes · G gaps · S stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.reranker.cascade import Cascade, Floats, Probe, Stage, Tails, stops_of
from sightline.reranker.cascade_plans import LEAST_QUERIES, Predicted, plans
from sightline.reranker.samples import Sample

FOLDS: Final = 5
COMPONENTS: Final = 20
RIDGE: Final = 0.05
"""Of each feature's sum of squares, added to it."""
CLASSES: Final = 16
GAPS: Final = 512


def fit(samples: Sequence[Sample], fingerprint: str) -> Cascade:
    """A cascade with a plan for each effort and number of hits, used or not.

    Raises:
        InputError: samples of fewer than 40 texts, or of different models.
    """
    groups = groups_of(samples)
    queries = int(groups.max()) + 1 if len(groups) else 0
    if queries < LEAST_QUERIES:
        raise InputError(
            f"A cascade needs {LEAST_QUERIES} different queries to learn from; there are {queries}."
        )
    if len({(one.layers, len(one.pooled), one.pooled.shape[2]) for one in samples}) > 1:
        raise InputError("The samples are of different models; a cascade is learned for one.")
    stops = stops_of(samples[0].layers)
    fitted = [_stage(samples, groups, number, layers) for number, layers in enumerate((0, *stops))]
    stages = tuple(stage for stage, _ in fitted)
    predicted = Predicted.of(samples, [cross for _, cross in fitted], groups)
    found = plans(predicted, stages, samples[0].layers)
    return Cascade(fingerprint, samples[0].layers, queries, stages, tuple(found))


@dataclass(frozen=True, eq=False)
class _Sums:
    """Normal equations of some pairs: ``[F,F]`` and ``[F]``."""

    gram: Floats
    moment: Floats

    @classmethod
    def of(cls, features_KF: Floats, logits_K: Floats) -> _Sums:
        return cls(features_KF.T @ features_KF, features_KF.T @ logits_K)

    def solved(self, penalty_F: Floats) -> Floats:
        """The ridge regression's weights ``[F]``."""
        return np.asarray(np.linalg.solve(self.gram + np.diag(penalty_F), self.moment), np.float64)


def groups_of(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """``[M]``: which text each is of, numbered as they come."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(one.text, len(numbers)) for one in samples], np.int64)


def _stage(
    samples: Sequence[Sample], groups: NDArray[np.int64], number: int, layers: int
) -> tuple[Stage, list[Floats]]:
    """The stage after ``layers`` layers, and cross-fitted predictions ``[K]`` for every sample."""
    bare = _axes(samples, number)
    features = [bare.features(_pooled(one, number), one.itc.astype(np.float64)) for one in samples]
    logits = [one.logits.astype(np.float64) for one in samples]
    folds = [
        _Sums.of(*(np.concatenate([every[row] for row in rows]) for every in (features, logits)))
        # What is learned from a text is measured on others.
        for rows in (np.flatnonzero(groups % FOLDS == fold) for fold in range(FOLDS))
    ]
    whole = _Sums(sum(one.gram for one in folds), sum(one.moment for one in folds))  # type: ignore[arg-type]
    penalty_F = _penalty(whole.gram)
    cross: list[Floats] = [np.empty(0)] * len(samples)
    for fold, own in enumerate(folds):
        weights = _Sums(whole.gram - own.gram, whole.moment - own.moment).solved(penalty_F)
        for row in np.flatnonzero(groups % FOLDS == fold):
            cross[row] = features[row] @ weights
    probe = Probe(bare.mean, bare.axes, whole.solved(penalty_F))
    return Stage(layers, probe, tails(np.concatenate(cross), np.concatenate(logits))), cross


def _axes(samples: Sequence[Sample], number: int) -> Probe:
    """The probe of a stage before it has weights."""
    states = np.concatenate([_pooled(one, number) for one in samples])
    mean: Floats = states.mean(axis=0, dtype=np.float64)
    if not number:
        return Probe(mean, np.empty((0, 0)), np.empty(0))
    values, vectors = np.linalg.eigh(np.cov((states - mean).T))  # ascending
    kept = values[-COMPONENTS:] > 1e-9 * max(values[-1], 1e-30)
    axes = vectors[:, -COMPONENTS:][:, kept] / np.sqrt(values[-COMPONENTS:][kept])
    return Probe(mean, axes[:, ::-1], np.empty(0))


def _pooled(sample: Sample, number: int) -> Floats:
    """States ``[K,H]`` at a stage; at 0 there are none, ``[K,0]``."""
    if not number:
        return np.empty((len(sample.itc), 0), np.float64)
    return np.asarray(sample.pooled[number - 1], np.float64)


def _penalty(gram_FF: Floats) -> Floats:
    """``[F]``: that share of the centred sums of squares, and nothing for the last feature, which is 1."""
    squares: Floats = np.diag(gram_FF) - np.square(gram_FF[:, -1]) / gram_FF[-1, -1]
    # A feature that never changes gets no weight, and the equations stay solvable.
    penalty: Floats = RIDGE * np.maximum(squares, 1e-9 * max(float(np.trace(gram_FF)), 1.0))
    penalty[-1] = 0.0
    return penalty


def tails(predicted_K: Floats, logits_K: Floats) -> Tails:
    """The errors of predictions, by prediction."""
    errors, order = logits_K - predicted_K, np.argsort(predicted_K, kind="stable")
    least, most = float(errors.min()), float(errors.max())
    most = max(most, least + 1e-6)
    gaps = np.linspace(least, most, GAPS)
    classes = np.array_split(order, min(CLASSES, len(order)))
    above = [1 - np.searchsorted(np.sort(errors[rows]), gaps, side="right") / len(rows) for rows in classes]
    return Tails(np.array([predicted_K[rows].mean() for rows in classes]), least, most, np.array(above))
