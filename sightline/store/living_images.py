"""The images that a build is asked for, wherever segments hold them, streamed a few at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError
from sightline.store.segment_tokens import SegmentTokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sightline.store.index import CoveredSegment
    from sightline.store.segments import SegmentReader
    from sightline.types import Half, Keys, Mask

AT_ONCE: Final = 256
"""Images that are read together: 4 MB of tokens at Q = 32 and D = 256."""


class Batch(NamedTuple):
    """Some images and the tokens ``[n,Q,D]`` of them."""

    keys: Keys
    tokens: Half


@dataclass(frozen=True)
class Images:
    """``keys`` ``[N]``, each in row ``rows`` of segment ``files[numbers]``; Q and D of all of them."""

    reader: SegmentReader
    files: tuple[str, ...]
    keys: Keys
    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]
    queries: int
    dim: int

    @classmethod
    def living(cls, reader: SegmentReader, segments: Sequence[CoveredSegment], dead: Keys) -> Images:
        """All but the dead, each once. `InputError` without segments or for those of different models."""
        if not segments:
            raise InputError("There are no segments to build a generation from.")
        heads = [reader.head(segment.file) for segment in segments]
        shapes = {head.layout.specs["tokens"].shape[1:] for head in heads}
        if len(shapes) > 1:
            raise InputError("Segments of different models cannot share a generation.")
        queries, dim = shapes.pop()
        kept = [np.flatnonzero(mask) for mask in living_rows([head.keys for head in heads], dead)]
        keys = np.concatenate([head.keys[rows] for head, rows in zip(heads, kept, strict=True)])
        numbers = np.repeat(np.arange(len(heads)), [len(rows) for rows in kept])
        files = tuple(segment.file for segment in segments)
        return cls(reader, files, keys, numbers, np.concatenate(kept), queries, dim)

    def __len__(self) -> int:
        return len(self.keys)

    def at(self, positions: NDArray[np.integer]) -> Images:
        """Some of them. Those of one segment are read together when they stand together."""
        keys, numbers, rows = self.keys[positions], self.numbers[positions], self.rows[positions]
        return Images(self.reader, self.files, keys, numbers, rows, self.queries, self.dim)

    def of(self, keys: Keys) -> Images:
        """Those with one of these keys."""
        return self.at(np.flatnonzero(np.isin(self.keys, keys)))

    def sample(self, count: int, seed: int) -> Images:
        """So many at random, or all."""
        if count >= len(self):
            return self
        return self.at(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))

    def split(self, most: int) -> list[Images]:
        """In equal parts of no more than ``most`` images."""
        pieces = -(-len(self) // most)
        return [self.at(positions) for positions in np.array_split(np.arange(len(self)), max(1, pieces))]

    def batches(self) -> Iterator[Batch]:
        """All of them in order. `CorruptionError` when tokens are not what was written."""
        ends = np.flatnonzero(np.diff(self.numbers)) + 1
        for run in np.split(np.arange(len(self)), ends):
            for start in range(0, len(run), AT_ONCE):
                some = run[start : start + AT_ONCE]
                file = self.files[int(self.numbers[some[0]])]
                yield Batch(self.keys[some], self.reader.rows(file, "tokens", self.rows[some]))

    def stored(self) -> SegmentTokens:
        """Where an opened index reads their tokens."""
        tokens = SegmentTokens(self.reader.folder, self.queries, self.dim)
        tokens.cover([], [(file, self.reader.head(file)) for file in dict.fromkeys(self.files)])
        return tokens


def living_rows(keys: Sequence[Keys], dead: Keys) -> list[Mask]:
    """Which rows of each segment go in: not dead, and each key once (the first)."""
    everything = np.concatenate(list(keys))
    first = np.zeros(len(everything), np.bool_)
    first[np.unique(everything, return_index=True)[1]] = True
    mask = first & ~np.isin(everything, dead)
    return np.split(mask, np.cumsum([len(part) for part in keys])[:-1])
