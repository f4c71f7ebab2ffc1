"""Pictures whose perceptual hashes are near each other, among a million: candidates for the same picture.

Multi-index hashing (Norouzi, Punjani and Fleet 2012): two hashes of 128 bits that differ in few of them
agree in at least one of eight pieces of 16 bits, mostly, and surely when they differ in at most seven.
Nobody is compared with everybody: who agrees in a piece is compared bit by bit. The whole of one picture is
held against the views of the other, both ways. F fresh images · N images · V views · 16 bytes a hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint8]
    Rows = NDArray[np.int64]

RADIUS: Final = 22
"""Bits in which candidates may differ: 99 % of copies differ in at most 15, other pictures in 35 and more."""
PIECES: Final = 8
MOST_IN_PIECE: Final = 256
"""So many of those that agree in a piece are compared: a thousand white pages would be a million pairs."""
_AT_ONCE: Final = 1 << 22
"""Pairs in memory together."""
_IMAGES_AT_ONCE: Final = 50_000


class HashTable:
    """Hashes of one view each ``[N,16]``, found by pieces."""

    def __init__(self, hashes_NB: Hashes) -> None:
        self._words = _words(hashes_NB)
        pieces = _pieces(hashes_NB)
        self._order = [np.argsort(column, kind="stable") for column in pieces.T]
        self._sorted = [column[order] for column, order in zip(pieces.T, self._order, strict=True)]

    def near(self, asked_MB: Hashes) -> tuple[Rows, Rows, Rows]:
        """Rows of ``asked_MB`` ``[M,16]``, rows of this table, and their distance, `RADIUS` at most.

        A pair that agrees in several pieces comes several times.
        """
        words, pieces = _words(asked_MB), _pieces(asked_MB)
        found = [np.empty((3, 0), np.int64)]
        for column, (order, values) in enumerate(zip(self._order, self._sorted, strict=True)):
            wanted = pieces[:, column]
            start = np.searchsorted(values, wanted, "left")
            counts = np.minimum(np.searchsorted(values, wanted, "right") - start, MOST_IN_PIECE)
            for mine, place in _expanded(start, counts):
                theirs = order[place]
                apart = np.bitwise_count(words[mine] ^ self._words[theirs]).sum(axis=1, dtype=np.int64)
                close = apart <= RADIUS
                found.append(np.stack([mine[close], theirs[close], apart[close]]))
        mine, theirs, apart = np.concatenate(found, axis=1)
        return mine, theirs, apart


def neighbours(fresh_FVB: Hashes, all_NVB: Hashes) -> tuple[Rows, Rows, Rows]:
    """Pairs (row of fresh, row of all) once each in order, and the least distance of their views.

    A fresh image that is among all is its own neighbour.
    """
    views, wholes = fresh_FVB.shape[1], HashTable(fresh_FVB[:, 0])
    one, other, apart = HashTable(all_NVB[:, 0]).near(fresh_FVB.reshape(-1, fresh_FVB.shape[2]))
    found = [np.stack([one // views, other, apart])]
    for start in range(0, len(all_NVB), _IMAGES_AT_ONCE):
        part = all_NVB[start : start + _IMAGES_AT_ONCE]
        there, here, back = wholes.near(part.reshape(-1, part.shape[2]))
        found.append(np.stack([here, there // views + start, back]))
    rows, others, distances = np.concatenate(found, axis=1)
    order = np.lexsort((distances, others, rows))
    rows, others, distances = rows[order], others[order], distances[order]
    first = np.ones(len(rows), np.bool_)
    first[1:] = (rows[1:] != rows[:-1]) | (others[1:] != others[:-1])
    return rows[first], others[first], distances[first]


def _expanded(start: Rows, counts: Rows) -> Iterator[tuple[Rows, Rows]]:
    """For each row ``counts`` places from ``start`` on, `_AT_ONCE` of them at a time or a row's."""
    ends = np.cumsum(counts)
    low = 0
    while low < len(counts):
        before = ends[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + _AT_ONCE, "right")))
        part = counts[low:high]
        rows = np.repeat(np.arange(low, high), part)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(part) - part, part)
        yield rows, start[rows] + within
        low = high


def _words(hashes: Hashes) -> NDArray[np.uint64]:
    return np.ascontiguousarray(hashes).view(np.uint64)


def _pieces(hashes: Hashes) -> NDArray[np.uint16]:
    return np.ascontiguousarray(hashes).view(np.uint16)
