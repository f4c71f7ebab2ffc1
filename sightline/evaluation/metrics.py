"""Recall@K as pure functions over score matrices, after big_vision's `image_text_retrieval.py`.

``R`` rows (queries) · ``C`` columns (what is searched) · ``N`` pictures · ``T`` texts. Recall is a share of
1. A tie counts against us: a model that scores everything alike finds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Ranks = NDArray[np.int64]

RECALL_AT = (1, 5, 10)
NOT_SCORED = -100.0
"""What LAVIS fills its score matrix with where ITM was not asked."""


def best_rank(scores: Scores, relevant: NDArray[np.integer] | Sequence[int]) -> int:
    """Rank, from 0, of the first relevant column of one row of scores ``[C]``.

    Columns of equal score stand before the relevant one, except those that are relevant themselves. What
    is no number counts against us too.
    """
    best = scores[relevant].max()
    ahead = ~(scores < best)
    ahead[relevant] = False
    return int(ahead.sum())


def text_to_image_ranks(scores: Scores, image_of_text: NDArray[np.int64]) -> Ranks:
    """Scores ``[T, N]`` to the rank of each text's picture, ``[T]``."""
    return np.array([best_rank(row, [image]) for row, image in zip(scores, image_of_text, strict=True)])


def image_to_text_ranks(scores: Scores, image_of_text: NDArray[np.int64]) -> Ranks:
    """Scores ``[N, T]`` to the rank of the best of each picture's texts, ``[N]``."""
    return np.array([best_rank(row, np.flatnonzero(image_of_text == n)) for n, row in enumerate(scores)])


def recall(ranks: Ranks, at: Sequence[int] = RECALL_AT) -> dict[int, float]:
    """Share of rows whose first relevant column is among the first k, for each k."""
    return {k: float((ranks < k).mean()) for k in at}


def mean_reciprocal_rank(ranks: Ranks) -> float:
    """Mean of 1 / (1 + rank), a share of 1."""
    return float((1.0 / (1.0 + ranks)).mean())


def bootstrap_interval(
    values: NDArray[np.bool_] | NDArray[np.float64],
    groups: NDArray[np.int64],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """``bootstrap_intervals`` of one column ``[R]``."""
    low, high = bootstrap_intervals(values[:, None], groups, confidence, resamples, seed)[0]
    return float(low), float(high)


def bootstrap_intervals(
    values: NDArray[np.bool_] | NDArray[np.float64],
    groups: NDArray[np.int64],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Percentile bootstrap intervals of the mean of M columns ``[R, M]``, hits or differences: ``[M, 2]``.

    Whole groups ``[R]`` are resampled: the captions of one picture succeed or fail together, and drawing them
    one by one would make the interval too narrow.
    """
    _, member = np.unique(groups, return_inverse=True)
    found = np.stack([np.bincount(member, weights=one.astype(np.float64)) for one in values.T], axis=1)
    size = np.bincount(member).astype(np.float64)
    generator = np.random.default_rng(seed)
    share = np.full(len(size), 1 / len(size))
    draws = generator.multinomial(len(size), share, size=resamples).astype(np.float64)
    means = (draws @ found) / (draws @ size)[:, None]
    tail = (1 - confidence) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0).T
