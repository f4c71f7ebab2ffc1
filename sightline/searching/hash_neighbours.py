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
MOST_NEAR: Final = 256
"""So many neighbours of one picture are told, the nearest."""
_AT_ONCE: Final = 1 << 22
"""Pairs in memory together."""
_FRESH_AT_ONCE: Final = 32
_IMAGES_AT_ONCE: Final = 50_000


class HashTable:
    """Hashes of one view each ``[N,16]``, found by pieces, ``most`` of those that agree in one."""

    def __init__(self, hashes_NB: Hashes, most: int = MOST_IN_PIECE) -> None:
        self._most = most
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
            counts = np.minimum(np.searchsorted(values, wanted, "right") - start, self._most)
            for mine, place in _expanded(start, counts):
                theirs = order[place]
                apart = np.bitwise_count(words[mine] ^ self._words[theirs]).sum(axis=1, dtype=np.int64)
                close = apart <= RADIUS
                found.append(np.stack([mine[close], theirs[close], apart[close]]))
        mine, theirs, apart = np.concatenate(found, axis=1)
        return mine, theirs, apart


def neighbours(fresh_FVB: Hashes, all_NVB: Hashes) -> tuple[Rows, Rows, Rows]:
    """Pairs (row of fresh, row of all) once each in order, and the least distance of their views.

    Of one fresh image `MOST_NEAR`, the nearest. One that is among all is its own neighbour. A few fresh ones
    at a time, and what is found of them is made less at once: of a thousand white pages each is near all.
    """
    views, size = fresh_FVB.shape[1:]
    starts = range(0, len(fresh_FVB), _FRESH_AT_ONCE)
    kept = {start: np.empty((3, 0), np.int64) for start in starts}
    for first in range(0, len(all_NVB), _IMAGES_AT_ONCE):
        part = all_NVB[first : first + _IMAGES_AT_ONCE]
        wholes, looks = HashTable(part[:, 0]), HashTable(part.reshape(-1, size), MOST_IN_PIECE * views)
        for start in starts:
            fresh = fresh_FVB[start : start + _FRESH_AT_ONCE]
            one, other, apart = wholes.near(fresh.reshape(-1, size))
            here, there, far = looks.near(fresh[:, 0])
            forth = np.stack([one // views + start, other + first, apart])
            back = np.stack([here + start, there // views + first, far])
            kept[start] = _nearest(np.concatenate([kept[start], forth, back], axis=1))
    rows, others, distances = np.concatenate([np.empty((3, 0), np.int64), *kept.values()], axis=1)
    return rows, others, distances


def _nearest(found: Rows) -> Rows:
    """Of pairs and distances ``[3,P]`` each pair once, at its least; of a row the `MOST_NEAR` nearest."""
    found = found[:, np.lexsort((found[2], found[1], found[0]))]
    found = found[:, _changes(found[0]) | _changes(found[1])]
    found = found[:, np.lexsort((found[1], found[2], found[0]))]
    begins = np.flatnonzero(_changes(found[0]))
    within = np.arange(found.shape[1]) - np.repeat(begins, np.diff([*begins, found.shape[1]]))
    found = found[:, within < MOST_NEAR]
    return found[:, np.lexsort((found[1], found[0]))]


def _changes(values: Rows) -> NDArray[np.bool_]:
    """Where another value than the one before begins."""
    return np.concatenate([np.ones(min(len(values), 1), np.bool_), values[1:] != values[:-1]])


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
