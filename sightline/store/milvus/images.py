"""The images that a build is asked for, wherever segments hold them, streamed a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sightline.errors import InputError
from sightline.store.flat.generation_file import living_rows
from sightline.store.segment_tokens import SegmentTokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.store.index import CoveredSegment
    from sightline.store.segments import SegmentReader
    from sightline.types import Half, Keys

AT_ONCE: Final = 256
"""Images that are read together: 4 MB of tokens at Q = 32 and D = 256."""


class Batch(NamedTuple):
    """Some images: keys ``[n]``, tokens ``[n,Q,D]``."""

    keys: Keys
    tokens: Half


@dataclass(frozen=True)
class Images:
    """In each of some segments the rows of those that are not dead, each key once; Q and D of all."""

    reader: SegmentReader
    files: tuple[str, ...]
    rows: tuple[NDArray[np.intp], ...]
    keys: Keys
    queries: int
    dim: int

    @classmethod
    def living(cls, reader: SegmentReader, segments: Sequence[CoveredSegment], dead: Keys) -> Images:
        """`InputError` without segments or for those of different models; else errors of the reader."""
        if not segments:
            raise InputError("There are no segments to build a generation from.")
        heads = [reader.head(segment.file) for segment in segments]
        shapes = {head.layout.specs["tokens"].shape[1:] for head in heads}
        if len(shapes) > 1:
            raise InputError("Segments of different models cannot share a generation.")
        queries, dim = shapes.pop()
        rows = tuple(np.flatnonzero(mask) for mask in living_rows([head.keys for head in heads], dead))
        keys = np.concatenate([head.keys[some] for head, some in zip(heads, rows, strict=True)])
        return cls(reader, tuple(segment.file for segment in segments), rows, keys, queries, dim)

    def batches(self, among: Keys | None = None) -> Iterator[Batch]:
        """The tokens, each row checked; ``among``: of these keys only."""
        for file, rows in zip(self.files, self.rows, strict=True):
            keys = self.reader.keys(file)
            chosen = rows if among is None else rows[np.isin(keys[rows], among)]
            for start in range(0, len(chosen), AT_ONCE):
                some = chosen[start : start + AT_ONCE]
                yield Batch(keys[some], self.reader.rows(file, "tokens", some))

    def stored(self) -> SegmentTokens:
        """Where an opened index reads them."""
        tokens = SegmentTokens(self.reader.folder, self.queries, self.dim)
        tokens.cover([], [(file, self.reader.head(file)) for file in dict.fromkeys(self.files)])
        return tokens
