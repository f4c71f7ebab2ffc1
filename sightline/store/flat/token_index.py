"""Which tokens can be the best of the best images, exactly, in one file or one segment.

An image's ITC score is the maximum over its Q tokens. Scanning token hits downward, the first sight of an
image is its maximum, so the best k images lie in a prefix of the token hits. FAISS gives that prefix with
fp32 sums, whose last bits depend on the order of summation. So the prefix is taken a little further than the
k-th image (by twice `RowScan.rounding`), and whoever asked scores the few tokens in it again in fp64: the
answer is exact, and the same whether an image is in a generation or still in a segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.store.durable import FileIdentity
from sightline.store.index import Wanted

if TYPE_CHECKING:
    from sightline.store.index import Rows
    from sightline.types import Half, Keys, Mask, Vector

FIRST_HITS: Final = 16
"""Token hits asked for first, for each image expected: the best images own many of the best tokens, and more
hits cost little beside scanning again."""
FEWEST: Final = 4
"""Images that are expected at least."""
GROWTH: Final = 4
"""A prefix that proved too short is taken at most this many times longer."""


class MappedFile(NamedTuple):
    """A file that is mapped, and what says that nobody wrote to it since it was verified."""

    path: Path
    identity: FileIdentity | None

    def is_unchanged(self) -> bool:
        """Asked before each use: what was written would be read, and what was cut off kill the process."""
        return self.identity is not None and FileIdentity.at(self.path) == self.identity


class RowHits(NamedTuple):
    """Token rows by falling fp32 score; row p belongs to image p // Q of the index."""

    scores: NDArray[np.float32]
    rows: NDArray[np.int64]


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

    def search_many(self, vectors_TD: Vector, count: int, bitmap: NDArray[np.uint8] | None) -> list[RowHits]:
        """As `search` for each vector, in one pass over the rows."""
        ...


@dataclass(frozen=True)
class TokenIndex:
    """The tokens of many images, opened for search: keys ``[N]``, tokens ``[N,Q,D]``. Immutable, thread-safe.

    ``scans`` are asked in order; the last one can answer everything. A `sightline.store.index.CandidateIndex`
    and a `Tail`.
    """

    keys: Keys
    tokens: Half
    scans: tuple[RowScan, ...]
    exact: bool = True
    recall: float = 1.0
    map: MappedFile | None = None
    """What it is a map of; None when all of it is in memory."""

    def is_intact(self) -> bool:
        """See `sightline.store.index.CandidateIndex`."""
        return self.map is None or self.map.is_unchanged()

    @property
    def queries(self) -> int:
        """Q."""
        return int(self.tokens.shape[1])

    def candidates(
        self, vectors_TD: Vector, wanted: int, allowed: Mask | None, probes: int | None
    ) -> list[Rows]:
        """See `sightline.store.index.CandidateIndex`."""
        everything = Wanted(wanted, -np.inf, wanted)
        if len(vectors_TD) == 1:
            return [self.best_rows(vectors_TD[0], everything, allowed)]
        return self._together(vectors_TD, everything, allowed)

    def tokens_at(self, rows: Rows) -> Half:
        """fp16 ``[len(rows), D]``."""
        return self.tokens[rows // self.queries, rows % self.queries]

    def images_at(self, images: slice | NDArray[np.intp]) -> Half:
        """See `sightline.store.held_tokens.HoldsTokens`."""
        return self.tokens[images]

    def best_rows(self, vector_D: Vector, wanted: Wanted, allowed: Mask | None) -> Rows:
        """Every token row that could be the best of a wanted image, best first, and few others."""
        total, bitmap = self._total(allowed), self._bitmap(allowed)
        if total == 0:
            return np.empty(0, np.int64)
        count = _first_count(wanted, total)
        while True:
            scan = next(s for s in self.scans if s.can_answer(count, bitmap is not None))
            hits = scan.search(vector_D, count, bitmap)
            rows = self._prefix(hits, scan, wanted, is_whole=count >= total)
            if rows is not None:
                return rows
            seen = len(np.unique(hits.rows // self.queries))
            count = min(total, _longer(count, wanted.expected, seen))

    def _together(self, vectors_TD: Vector, wanted: Wanted, allowed: Mask | None) -> list[Rows]:
        """As `best_rows` for each: the first prefixes in one scan, a longer one for whom it was too short."""
        total, bitmap = self._total(allowed), self._bitmap(allowed)
        if total == 0:
            return [np.empty(0, np.int64) for _ in vectors_TD]
        count = _first_count(wanted, total)
        scan = next(s for s in self.scans if s.can_answer(count, bitmap is not None))
        found = scan.search_many(vectors_TD, count, bitmap)
        prefixes = [self._prefix(hits, scan, wanted, is_whole=count >= total) for hits in found]
        return [
            self.best_rows(vector, wanted, allowed) if rows is None else rows
            for vector, rows in zip(vectors_TD, prefixes, strict=True)
        ]

    def _total(self, allowed: Mask | None) -> int:
        return self.queries * (len(self.keys) if allowed is None else int(allowed.sum()))

    def _bitmap(self, allowed: Mask | None) -> NDArray[np.uint8] | None:
        return None if allowed is None else row_bitmap(allowed, self.queries)

    def _prefix(self, hits: RowHits, scan: RowScan, wanted: Wanted, *, is_whole: bool) -> Rows | None:
        """The rows that are named of a prefix of the hits; None when it is too short to tell."""
        images, slack = hits.rows // self.queries, 2 * scan.rounding
        cut = max(kth_best(hits.scores, images, wanted.images), wanted.floor) - slack
        if len(hits.scores) == 0 or is_whole or hits.scores[-1] < cut:
            rows: Rows = hits.rows[(hits.scores >= cut) & contenders(hits.scores, images, slack)]
            return rows
        return None


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


def _first_count(wanted: Wanted, total: int) -> int:
    return min(total, FIRST_HITS * max(FEWEST, wanted.expected))


def _longer(count: int, expected: int, seen: int) -> int:
    """The next prefix, by how many images of the expected ones were in one of ``count`` hits."""
    return int(count * min(GROWTH, max(2.0, 1.5 * expected / max(1, seen))))


def row_bitmap(allowed: Mask, queries: int) -> NDArray[np.uint8]:
    """Bit p (lowest first) says whether row p, of image p // Q, may be found."""
    if queries % 8 == 0:  # the same without going through single bits
        return np.repeat(np.where(allowed, np.uint8(255), np.uint8(0)), queries // 8)
    return np.packbits(np.repeat(allowed, queries), bitorder="little")
