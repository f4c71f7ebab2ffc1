"""The exact answer to many queries from the segments themselves: what an index is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sightline.store.segments import SegmentReader
    from sightline.types import Half, Keys, OnProgress, Vector

_AT_ONCE: Final = 512
"""Images that are read and scored together: 16 MB in fp32 at BLIP-2's geometry."""


def best_scores(
    segments: SegmentReader,
    files: Sequence[str],
    keys: Keys,
    vectors_TD: Vector,
    best: int,
    on_progress: OnProgress,
) -> NDArray[np.float32]:
    """``[T,best]``: for each unit vector the best ITC scores of the images ``keys``, falling; −inf for none.

    In fp32, each image once. Errors as `SegmentReader.rows`.
    """
    left = np.sort(keys)
    is_left = np.ones(len(left), np.bool_)
    found_Tk = np.full((len(vectors_TD), best), -np.inf, np.float32)
    for number, file in enumerate(files, 1):
        there = segments.keys(file)
        rows = np.flatnonzero(np.isin(there, left[is_left]))
        is_left[np.searchsorted(left, there[rows])] = False
        for start in range(0, len(rows), _AT_ONCE):
            tokens_NQD = segments.rows(file, "tokens", rows[start : start + _AT_ONCE])
            found_Tk = _best(np.hstack([found_Tk, _scores(tokens_NQD, vectors_TD)]), best)
        on_progress("exact scan", number, len(files))
    return -np.sort(-found_Tk, axis=1)


def _scores(tokens_NQD: Half, vectors_TD: Vector) -> NDArray[np.float32]:
    """``[T,N]``: the best token of each image."""
    images, queries, dim = tokens_NQD.shape
    products = tokens_NQD.astype(np.float32).reshape(-1, dim) @ vectors_TD.T
    scores: NDArray[np.float32] = products.reshape(images, queries, len(vectors_TD)).max(axis=1).T
    return scores


def _best(scores: NDArray[np.float32], best: int) -> NDArray[np.float32]:
    kept: NDArray[np.float32] = np.partition(scores, -best, axis=1)[:, -best:]
    return kept
