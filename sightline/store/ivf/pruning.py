"""Which tokens of an image can be its best: the others are not indexed, and still count in its score.

The tokens of one image are nearly one, and few of them ever are the best for a text. Kept are those that are
for at least one of M sample texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sightline.store.ivf.lists import Floats
    from sightline.types import Half, Mask

NEVER: Final = 2.0
"""No cosine is below it."""
_TEXTS_AT_ONCE: Final = 2048
"""Scores of so many texts and 32 images stay in the cache."""
IMAGES_AT_ONCE: Final = 32


class Pruned(NamedTuple):
    """Of images ``[n]``: tokens fp32 ``[n,Q,D]``, which are kept ``[n,Q]``, best scores ``[n,T]``."""

    tokens: Floats
    kept: Mask
    best: Floats


def prune(
    tokens_NQD: Half, texts_MD: Floats, held_out_TD: Floats, apart: float = NEVER, kept: Mask | None = None
) -> Pruned:
    """Keeps at least one token of each image, or those ``kept`` ``[n,Q]``. ``apart``: see `Trained`."""
    tokens = tokens_NQD.astype(np.float32)
    if kept is None:
        kept = winning_tokens(tokens, texts_MD)
        if apart < NEVER:
            kept = keep_apart(tokens, kept, apart)
    return Pruned(tokens, kept, scores_of(tokens, held_out_TD).max(axis=1))


def winning_tokens(tokens_NQD: Floats, texts_MD: Floats) -> Mask:
    """``[N,Q]``: which tokens are their image's best for at least one text."""
    kept = np.zeros(tokens_NQD.shape[:2], np.bool_)
    for start in range(0, len(texts_MD), _TEXTS_AT_ONCE):
        scores = scores_of(tokens_NQD, texts_MD[start : start + _TEXTS_AT_ONCE])
        kept |= (scores >= scores.max(axis=1, keepdims=True)).any(axis=2)
    return kept


def scores_of(tokens_NQD: Floats, texts_MD: Floats) -> Floats:
    """``[N,Q,M]``."""
    images, queries, dim = tokens_NQD.shape
    scores: Floats = (tokens_NQD.reshape(-1, dim) @ texts_MD.T).reshape(images, queries, len(texts_MD))
    return scores


def keep_apart(tokens_NQD: Floats, kept_NQ: Mask, apart: float) -> Mask:
    """With more tokens, until every token has one that is kept within the cosine ``apart``."""
    kept = kept_NQ.copy()
    cosines = tokens_NQD @ tokens_NQD.transpose(0, 2, 1)  # [N,Q,Q]
    near = np.where(kept[:, None, :], cosines, -np.inf).max(axis=2)
    images = np.arange(len(kept))
    for _ in range(kept.shape[1]):
        farthest = near.argmin(axis=1)
        far = near[images, farthest] < apart
        if not far.any():
            break
        kept[images[far], farthest[far]] = True
        near[far] = np.maximum(near[far], cosines[images[far], :, farthest[far]])
    return kept
