"""Tokens of single images, read where segments hold them: for indexes that keep none of their own.

Segments are mapped as they are needed. Every image's tokens are checked each time (docs/decisions/076), and a
file that was cut off is not touched: a map of it would kill the process.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.store.checksums import checksum
from sightline.store.durable import FileIdentity, opened
from sightline.store.index import SoundTokens

Rows = NDArray[np.intp]

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.store.segment_head import SegmentHead
    from sightline.types import Half, Keys


class SegmentTokens:
    """See `sightline.store.index.StoredTokens`. ``queries`` is Q and ``dim`` D of the feature set."""

    def __init__(self, folder: Path, queries: int, dim: int) -> None:
        self._folder = folder
        self._shape = queries, dim
        self._table = _Table.of([])
        self._lock = threading.Lock()

    @property
    def known(self) -> set[str]:
        """The files of the segments that are covered now."""
        return set(self._table.places)

    def cover(self, gone: Iterable[str], heads: Iterable[tuple[str, SegmentHead]]) -> None:
        """Read from these segments as well, and no longer from those that are gone; queries go on."""
        with self._lock:
            places = {file: place for file, place in self._table.places.items() if file not in set(gone)}
            new = {file: _Place(str(self._folder / file), head) for file, head in heads}
            if new or len(places) != len(self._table.places):
                self._table = _Table.of([*places.items(), *new.items()])

    def images(self, keys: Keys) -> SoundTokens:
        """See `StoredTokens`."""
        out = np.empty((len(keys), *self._shape), np.float16)
        sound = np.zeros(len(keys), np.bool_)
        for place, positions, rows in self._table.find(keys):
            sound[positions] = place.read(rows, out, positions)
        if sound.all():
            return SoundTokens(np.arange(len(keys)), out)
        return SoundTokens(np.flatnonzero(sound), out[sound])

    def rows(self, keys: Keys, tokens: NDArray[np.integer[Any]]) -> Half:
        """See `StoredTokens`."""
        out = np.zeros((len(keys), self._shape[1]), np.float16)
        for place, positions, rows in self._table.find(keys):
            view = place.view()
            if view is not None:
                out[positions] = view[rows, tokens[positions]]
        return out

    def losses(self) -> dict[str, int]:
        """File → how many images of it were found damaged."""
        places = self._table.places
        return {file: len(place.damaged) for file, place in places.items() if place.damaged}


@dataclass
class _Place:
    """One segment, mapped at first use. Thread-safe: what two threads do twice comes out the same."""

    path: str
    head: SegmentHead
    map: NDArray[np.float16] | None = None
    size: int = 0
    damaged: set[int] = field(default_factory=set)

    def view(self) -> NDArray[np.float16] | None:
        """Tokens ``[N,Q,D]``; None when the file is shorter than it was. `FileMissingError`."""
        if self.map is None:
            return self._mapped()
        try:
            whole = os.stat(self.path).st_size >= self.size
        except FileNotFoundError:
            whole = True  # removed, and what is mapped outlives the name
        return self.map if whole else None

    def read(self, rows: Rows, out: Half, positions: Rows) -> list[bool]:
        """The tokens ``[Q,D]`` of images, each into its place; which of them are what was written."""
        view = self.view()
        if view is None:
            return [False] * len(rows)
        sums = None if self.head.sums is None else self.head.sums[rows, 0].tolist()
        sound = []
        for number, (row, position) in enumerate(zip(rows.tolist(), positions.tolist(), strict=True)):
            place = out[position]
            place[...] = view[row]
            # Version 1 was verified whole with its head.
            sound.append(sums is None or checksum(place) == sums[number])
        self.damaged.update(row for row, is_sound in zip(rows.tolist(), sound, strict=True) if not is_sound)
        return sound

    def _mapped(self) -> NDArray[np.float16] | None:
        layout = self.head.layout
        spec, start = layout.specs["tokens"], layout.starts["tokens"]
        with opened(layout.path) as handle:
            self.size = FileIdentity.of(handle).size
            if self.size < start + spec.bytes:
                return None
            content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        flat = np.frombuffer(content, np.float16, spec.bytes // 2, start)
        self.map = flat.reshape(spec.shape)
        return self.map


class _Found(NamedTuple):
    """Some of the keys that were asked for, by position, and their rows in one place."""

    place: _Place
    positions: Rows
    rows: Rows


@dataclass(frozen=True)
class _Table:
    """Where each key is: ``keys`` sorted, with the number of its place and its row there."""

    places: dict[str, _Place]
    keys: Keys
    numbers: NDArray[np.int32]
    rows: NDArray[np.int32]

    @classmethod
    def of(cls, places: Sequence[tuple[str, _Place]]) -> _Table:
        keys = [place.head.keys for _, place in places]
        counts = [len(some) for some in keys]
        together = np.concatenate([*keys, np.empty(0, np.int64)])
        sorted_keys, first = np.unique(together, return_index=True)
        numbers = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        rows = np.concatenate([*(np.arange(n, dtype=np.int32) for n in counts), np.empty(0, np.int32)])
        return cls(dict(places), sorted_keys, numbers[first], rows[first])

    def find(self, keys: Keys) -> list[_Found]:
        """One for each place that holds any."""
        if not len(self.keys) or not len(keys):
            return []
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        there = np.flatnonzero(self.keys[at] == keys)
        numbers = self.numbers[at[there]]
        order = np.argsort(numbers, kind="stable")
        places, first = np.unique(numbers[order], return_index=True)
        groups = np.split(there[order], first[1:])
        everywhere = list(self.places.values())
        return [
            _Found(everywhere[number], group, self.rows[at[group]].astype(np.intp))
            for number, group in zip(places.tolist(), groups, strict=True)
        ]
