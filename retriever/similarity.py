"""Exact similarity to a picture: the mean, over its query tokens, of the best token of an image.

The directed Chamfer similarity of two sets of unit vectors. A first pass over every allowed image computes it
in fp32, a few images at a time; whoever is within the rounding of the last wanted place is computed again
from fp16 tokens in fp64, ties by key. So an image scores the same folded or not, whatever the kind of index.
An approximate index names the images that are best for each single token; of those that it names the scores
are exact.

Shapes: n images · Q tokens of an image · T tokens of the query picture · D joint dim.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline.retriever.max_sim import NO_HITS, ImageHits, Part, TailPart
from sightline.retriever.positions import both
from sightline.store.halves import widen
from sightline.store.held_tokens import HoldsTokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sightline.store.index import CandidateIndex
    from sightline.types import Half

    Positions = NDArray[np.intp]
    Scores = NDArray[np.float64]

_BLOCK_BYTES: Final = 4 << 20
"""fp32 tokens that are compared together: they stay in the cache."""
_PAIRS: Final = 1 << 13
"""Pairs of tokens that are multiplied in fp64 at once: 16 MB each at D = 256."""

AnyPart = TypeVar("AnyPart", Part, TailPart)


class QueryTokens:
    """The tokens fp16 ``[T,D]`` of the picture that is asked with, as the two passes need them."""

    def __init__(self, tokens_TD: Half) -> None:
        self.exact_TD = tokens_TD.astype(np.float64)
        self.rough_DT = np.ascontiguousarray(tokens_TD.astype(np.float32).T)
        dim = tokens_TD.shape[1]
        # The bound on fp32 sums of D products of vectors of length 1, and some for fp16's idea of length.
        self.rounding: float = (dim + 16) * 2.0**-24 * 1.01


def similar(
    generation: Part | None,
    tails: Iterable[TailPart],
    query: QueryTokens,
    images: int,
    exclude: int | None = None,
    probes: int | None = None,
) -> ImageHits:
    """The best ``images`` images over all parts, without the one whose key is ``exclude``."""
    found = NO_HITS
    if generation is not None:
        part = _without(generation, exclude)
        members = _named(part, query, images, probes)
        found = _joined(found, part.index, members, query, images, _count(part))
    for tail in tails:
        other = _without(tail, exclude)
        found = _joined(found, other.index, _allowed(other), query, images, _count(other))
    return found


def similarity_of_all(
    generation: Part | None, tails: Iterable[TailPart], query: QueryTokens
) -> dict[int, float]:
    """Key → similarity of every allowed image of all parts, whatever the kind of index."""
    found: dict[int, float] = {}
    parts: list[Part | TailPart] = [] if generation is None else [generation]
    for part in [*parts, *tails]:
        members = _allowed(part)
        scores = _exact(part.index, members, query)
        found |= dict(zip(part.index.keys[members].tolist(), scores.tolist(), strict=True))
    return found


def tokens_in(generation: Part | None, tails: Iterable[TailPart]) -> Half | None:
    """The tokens fp16 ``[Q,D]`` of the one image that the parts allow; None when it is in none of them."""
    parts: list[Part | TailPart] = [] if generation is None else [generation]
    for part in [*parts, *tails]:
        members = _allowed(part)
        if len(members):
            return np.array(_tokens(part.index, members[:1])[0])
    return None


def _without(part: AnyPart, key: int | None) -> AnyPart:
    if key is None:
        return part
    return replace(part, allowed=both(part.allowed, part.index.keys != key))


def _count(part: Part | TailPart) -> int:
    return len(part.index.keys) if part.allowed is None else int(part.allowed.sum())


def _allowed(part: Part | TailPart) -> Positions:
    return np.arange(len(part.index.keys)) if part.allowed is None else np.flatnonzero(part.allowed)


def _named(part: Part, query: QueryTokens, images: int, probes: int | None) -> Positions:
    """Who is compared: everybody that is allowed, or whom an approximate index names for any token."""
    if part.index.exact:
        return _allowed(part)
    vectors = np.ascontiguousarray(query.rough_DT.T)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    named = part.index.candidates(vectors, images, part.allowed, probes)
    return np.unique(np.concatenate([rows // part.index.queries for rows in named]))


def _joined(
    known: ImageHits,
    index: CandidateIndex,
    members: Positions,
    query: QueryTokens,
    images: int,
    searched: int,
) -> ImageHits:
    """The best ``images`` of what is known and of ``members``. A key in two parts is found once."""
    floor = float(known.scores[-1]) if len(known.keys) == images else -np.inf
    finalists = _finalists(_rough(index, members, query), images, floor, query.rounding)
    keys = np.concatenate([known.keys, index.keys[members[finalists]]])
    scores = np.concatenate([known.scores, _exact(index, members[finalists], query)])
    order = np.lexsort((keys, -scores))
    keys, scores = keys[order], scores[order]
    _, first = np.unique(keys, return_index=True)
    chosen = np.sort(first)[:images]
    return ImageHits(keys[chosen], scores[chosen], known.searched + searched)


def _finalists(rough: Scores, images: int, floor: float, rounding: float) -> Positions:
    """Who may be among the best ``images``, given what each scores within ``rounding``."""
    last = -np.inf if len(rough) < images else float(np.partition(rough, -images)[-images])
    return np.flatnonzero(rough >= max(last - rounding, floor) - rounding)


def _rough(index: CandidateIndex, members: Positions, query: QueryTokens) -> Scores:
    """``[n]``: similarities in fp32, within ``rounding`` of the exact ones."""
    scores = np.empty(len(members))
    width = query.rough_DT.shape[1]
    for start, stop in _blocks(index, len(members), query):
        best_nT = _products(_tokens(index, members[start:stop]), query).max(axis=1)
        scores[start:stop] = best_nT.sum(axis=1, dtype=np.float64) / width
    return scores


def _exact(index: CandidateIndex, members: Positions, query: QueryTokens) -> Scores:
    """``[n]``: the same in fp64. Of an image only pairs that may be a maximum are multiplied again."""
    scores = np.empty(len(members))
    for start, stop in _blocks(index, len(members), query):
        tokens_nQD = _tokens(index, members[start:stop])
        products_nQT = _products(tokens_nQD, query)
        close = products_nQT >= products_nQT.max(axis=1, keepdims=True) - 2 * query.rounding
        image, row, which = np.nonzero(close)
        best_nT = np.full((stop - start, products_nQT.shape[2]), -np.inf)
        for first in range(0, len(image), _PAIRS):
            some = slice(first, first + _PAIRS)
            # Not a matrix product: its order of summation depends on its shape (see max_sim).
            terms = tokens_nQD[image[some], row[some]].astype(np.float64)
            terms *= query.exact_TD[which[some]]
            np.maximum.at(best_nT, (image[some], which[some]), terms.sum(axis=1))
        scores[start:stop] = best_nT.sum(axis=1) / best_nT.shape[1]
    return scores


def _blocks(index: CandidateIndex, count: int, query: QueryTokens) -> Iterable[tuple[int, int]]:
    """Ranges of so many images as are compared together."""
    step = max(1, _BLOCK_BYTES // (4 * index.queries * query.exact_TD.shape[1]))
    return ((start, min(count, start + step)) for start in range(0, count, step))


def _products(tokens_nQD: Half, query: QueryTokens) -> NDArray[np.float32]:
    """fp32 ``[n,Q,T]``."""
    n, queries, dim = tokens_nQD.shape
    wide = np.empty((n * queries, dim), np.float32)
    widen(np.ascontiguousarray(tokens_nQD).reshape(n * queries, dim), wide)
    products: NDArray[np.float32] = (wide @ query.rough_DT).reshape(n, queries, -1)
    return products


def _tokens(index: CandidateIndex, members: Positions) -> Half:
    """fp16 ``[n,Q,D]`` of these images, uncopied where they lie together."""
    if isinstance(index, HoldsTokens):
        together = len(members) > 0 and members[-1] - members[0] + 1 == len(members)
        return index.images_at(slice(members[0], members[-1] + 1) if together else members)
    rows = (members[:, None] * index.queries + np.arange(index.queries)).ravel().astype(np.int64)
    return index.tokens_at(rows).reshape(len(members), index.queries, -1)
