"""Exact max-sim: what an index of any kind names is scored here, from fp16 tokens in fp64.

An image's ITC score is the maximum over its Q tokens of the product with the text vector. An exact index
names the rows that can be that maximum; of what an approximate one names, all Q tokens are scored. Ties go by
key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.store.index import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sightline.store.index import CandidateIndex, Rows, Tail
    from sightline.types import Half, Keys, Mask, Vector

_AT_ONCE: Final = 256
"""Tokens that are scored together: half a megabyte in fp64 at D = 256, which stays in the cache."""


class ImageHits(NamedTuple):
    """Images by falling score (ties: by key): keys int64 ``[n]``, ITC scores fp64 ``[n]``.

    ``searched`` is how many images could have been among them.
    """

    keys: Keys
    scores: NDArray[np.float64]
    searched: int


NO_HITS: Final = ImageHits(np.empty(0, np.int64), np.empty(0), 0)


@dataclass(frozen=True)
class Part:
    """An opened generation and which of its images may be found (None: all of them)."""

    index: CandidateIndex
    allowed: Mask | None = None


@dataclass(frozen=True)
class TailPart:
    """A segment outside of the generation, likewise."""

    index: Tail
    allowed: Mask | None = None


Names = Callable[[Part, "Vector", int, "int | None"], "Rows"]
"""The rows that the index of a part names for a vector, so many images and probes."""


def search(
    generation: Part | None,
    tails: Iterable[TailPart],
    vector: Vector,
    images: int,
    probes: int | None = None,
    names: Names | None = None,
) -> ImageHits:
    """The best ``images`` images over all parts. A key in two parts is found once.

    ``names`` stands in for asking the generation's index.

    ``vector`` is a unit vector fp32 ``[D]``. With an exact index the answer is exact; an approximate one may
    miss images, but what is found has its exact score.
    """
    found = NO_HITS
    if generation is not None:
        index, allowed = generation.index, generation.allowed
        if names is None:
            (rows,) = index.candidates(vector[None], images, allowed, probes)
        else:
            rows = names(generation, vector, images, probes)
        found = _joined(found, index, rows, vector, images, _count(generation))
    for tail in tails:
        count = _count(tail)
        # What the best images so far reach, and how many of the best this part may be expected to hold.
        floor = float(found.scores[-1]) if len(found.keys) == images else -np.inf
        wanted = Wanted(images, floor, images * count // max(1, found.searched + count))
        rows = tail.index.best_rows(vector, wanted, tail.allowed)
        found = _joined(found, tail.index, rows, vector, images, count)
    return found


def score_all(generation: Part | None, tails: Iterable[TailPart], vector: Vector) -> ImageHits:
    """Every allowed image of all parts with its exact score, whatever the kind of index."""
    found = NO_HITS
    parts: list[Part | TailPart] = [] if generation is None else [generation]
    for part in [*parts, *tails]:
        count = _count(part)
        images = np.arange(len(part.index.keys)) if part.allowed is None else np.flatnonzero(part.allowed)
        queries = part.index.queries
        rows = (images[:, None] * queries + np.arange(queries)).ravel().astype(np.int64)
        found = _joined(found, part.index, rows, vector, len(found.keys) + count, count)
    return found


def _count(part: Part | TailPart) -> int:
    return len(part.index.keys) if part.allowed is None else int(part.allowed.sum())


def _joined(
    known: ImageHits, index: CandidateIndex, rows: Rows, vector: Vector, images: int, searched: int
) -> ImageHits:
    """The best ``images`` of what is known and what ``index`` names."""
    keys = np.concatenate([known.keys, index.keys[rows // index.queries]])
    scores = np.concatenate([known.scores, _scores(index, rows, vector)])
    order = np.lexsort((keys, -scores))
    keys, scores = keys[order], scores[order]
    _, first = np.unique(keys, return_index=True)
    chosen = np.sort(first)[:images]
    return ImageHits(keys[chosen], scores[chosen], known.searched + searched)


def _scores(index: CandidateIndex, rows: Rows, vector: Vector) -> NDArray[np.float64]:
    starts = range(0, len(rows), _AT_ONCE)
    parts = [_products(index.tokens_at(rows[start : start + _AT_ONCE]), vector) for start in starts]
    return np.concatenate(parts) if parts else np.empty(0)


def _products(tokens: Half, vector: Vector) -> NDArray[np.float64]:
    # Not a matrix product: its order of summation depends on its shape, and equal tokens must score equally.
    terms = tokens.astype(np.float64)
    terms *= vector
    products: NDArray[np.float64] = terms.sum(axis=1)
    return products
