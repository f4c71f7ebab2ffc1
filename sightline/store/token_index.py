"""Exact max-sim over the tokens of one file (a generation or a segment) or of several together.

An image's ITC score is the maximum over its Q tokens. Scanning token hits downward, the first sight of an
image is its maximum, so the best k images lie in a prefix of the token hits. FAISS gives that prefix with
fp32 sums, whose last bits depend on the order of summation. So the prefix is taken a little further than
the k-th image (by twice `RowScan.rounding`) and the few tokens in it are scored again in fp64: the answer
is exact, and the same whether an image is in a generation or still in a segment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

Keys = NDArray[np.int64]
Half = NDArray[np.float16]
Mask = NDArray[np.bool_]
Vector = NDArray[np.float32]

FIRST_HITS: Final = 16
"""Token hits asked for first, for each image expected: the best images own many of the best tokens, and more
hits cost little beside scanning again."""
FEWEST: Final = 4
"""Images that are expected at least."""
GROWTH: Final = 4
"""A prefix that proved too short is taken at most this many times longer."""


class RowHits(NamedTuple):
    """Token rows by falling fp32 score; row p belongs to image p // Q of the index."""

    scores: NDArray[np.float32]
    rows: NDArray[np.int64]


class ImageHits(NamedTuple):
    """Images by falling score (ties: by key): keys int64 ``[n]``, ITC scores fp64 ``[n]``.

    ``searched`` is how many images could have been among them.
    """

    keys: Keys
    scores: NDArray[np.float64]
    searched: int


class RowScan(Protocol):
    """Finds token rows by inner product: FAISS on the CPU, or on a GPU."""

    @property
    def rounding(self) -> float:
        """Most by which a score may differ from the exact product, for vectors of length 1."""
        ...

    def can_answer(self, count: int, restricted: bool) -> bool: ...

    def search(self, vector: Vector, count: int, bitmap: NDArray[np.uint8] | None) -> RowHits:
        """The best ``count`` rows among those whose bit is set; fewer when there are fewer."""
        ...


class Wanted(NamedTuple):
    """The best ``images`` images that score at least ``floor``; ``expected`` of them are likely here."""

    images: int
    floor: float
    expected: int


@dataclass(frozen=True)
class TokenIndex:
    """The tokens of many images, opened for search: keys ``[N]``, tokens ``[N,Q,D]``. Immutable, thread-safe.

    ``scans`` are asked in order; the last one can answer everything.
    """

    keys: Keys
    tokens: Half
    scans: tuple[RowScan, ...]
    _order: NDArray[np.intp] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_order", np.argsort(self.keys, kind="stable"))

    def __len__(self) -> int:
        return len(self.keys)

    def positions_of(self, keys: Keys) -> NDArray[np.intp]:
        """Where those of ``keys`` that the index holds are in it."""
        if len(self.keys) == 0 or len(keys) == 0:
            return np.empty(0, np.intp)
        places = np.searchsorted(self.keys, keys, sorter=self._order)
        positions = self._order[np.minimum(places, len(self.keys) - 1)]
        held: NDArray[np.intp] = positions[self.keys[positions] == keys]
        return held

    def mask_of(self, keys: Keys) -> Mask:
        """``[N]``: whether each image is one of ``keys``."""
        mask = np.zeros(len(self.keys), np.bool_)
        mask[self.positions_of(keys)] = True
        return mask

    def prefix(self, vector: Vector, wanted: Wanted, allowed: Mask | None) -> NDArray[np.int64]:
        """Every token row that could be the best of a wanted image, best first, and few others."""
        queries = self.tokens.shape[1]
        total = queries * (len(self) if allowed is None else int(allowed.sum()))
        if total == 0:
            return np.empty(0, np.int64)
        bitmap = None if allowed is None else row_bitmap(allowed, queries)
        count = min(total, FIRST_HITS * max(FEWEST, wanted.expected))
        while True:
            scan = next(s for s in self.scans if s.can_answer(count, bitmap is not None))
            hits = scan.search(vector, count, bitmap)
            images, slack = hits.rows // queries, 2 * scan.rounding
            cut = max(kth_best(hits.scores, images, wanted.images), wanted.floor) - slack
            if len(hits.scores) == 0 or count >= total or hits.scores[-1] < cut:
                return hits.rows[(hits.scores >= cut) & contenders(hits.scores, images, slack)]
            count = min(total, _longer(count, wanted.expected, len(np.unique(images))))


@dataclass(frozen=True)
class Part:
    """An index and which of its images may be found (None: all of them)."""

    index: TokenIndex
    allowed: Mask | None = None

    @property
    def images(self) -> int:
        return len(self.index) if self.allowed is None else int(self.allowed.sum())


def search(parts: Iterable[Part], vector: Vector, images: int) -> ImageHits:
    """The best ``images`` images over all parts, exactly. A key in two parts is found once.

    ``vector`` is a unit vector fp32 ``[D]``.
    """
    keys, scores = np.empty(0, np.int64), np.empty(0)
    searched = 0
    for part in parts:
        index, searched = part.index, searched + part.images
        # What the best images so far reach, and how many of the best this part may be expected to hold.
        floor = scores[-1] if len(keys) == images else -np.inf
        expected = images * part.images // max(1, searched)
        rows = index.prefix(vector, Wanted(images, floor, expected), part.allowed)
        found, queries = rows // index.tokens.shape[1], rows % index.tokens.shape[1]
        products = _products(index.tokens[found, queries], vector)
        keys, scores = _best(
            np.concatenate([keys, index.keys[found]]), np.concatenate([scores, products]), images
        )
    return ImageHits(keys, scores, searched)


def kth_best(scores: NDArray[np.floating[Any]], images: NDArray[np.integer[Any]], k: int) -> float:
    """The k-th image's best score, −inf when there are fewer. Scores fall; score i is of ``images[i]``."""
    _, first = np.unique(images, return_index=True)
    if len(first) < k:
        return -np.inf
    return float(scores[np.partition(first, k - 1)[k - 1]])


def contenders(scores: NDArray[np.floating[Any]], images: NDArray[np.integer[Any]], slack: float) -> Mask:
    """Which hits may be the best of their image: those within ``slack`` of its first. Scores fall."""
    _, first, image = np.unique(images, return_index=True, return_inverse=True)
    may_be: Mask = scores >= scores[first][image] - slack
    return may_be


def _longer(count: int, expected: int, seen: int) -> int:
    """The next prefix, by how many images of the expected ones were in one of ``count`` hits."""
    return int(count * min(GROWTH, max(2.0, 1.5 * expected / max(1, seen))))


def row_bitmap(allowed: Mask, queries: int) -> NDArray[np.uint8]:
    """Bit p (lowest first) says whether row p, of image p // Q, may be found."""
    if queries % 8 == 0:  # the same without going through single bits
        return np.repeat(np.where(allowed, np.uint8(255), np.uint8(0)), queries // 8)
    return np.packbits(np.repeat(allowed, queries), bitorder="little")


def _products(tokens: Half, vector: Vector) -> NDArray[np.float64]:
    # Not a matrix product: its order of summation depends on its shape, and equal tokens must score equally.
    products: NDArray[np.float64] = (tokens.astype(np.float64) * vector.astype(np.float64)).sum(axis=1)
    return products


def _best(keys: Keys, scores: NDArray[np.float64], images: int) -> tuple[Keys, NDArray[np.float64]]:
    order = np.lexsort((keys, -scores))
    keys, scores = keys[order], scores[order]
    _, first = np.unique(keys, return_index=True)
    chosen = np.sort(first)[:images]
    return keys[chosen], scores[chosen]
