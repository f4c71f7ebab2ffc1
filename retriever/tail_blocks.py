"""Tokens of unfolded segments in few blocks, each of which is scanned at once.

A scan costs the same however few images it holds, and workers publish many small segments. A new one is put
together with the blocks that are not larger than it and all that it took before, as a binary counter counts:
each token is copied about log₂(segments) times, and about as many blocks stay. Blocks are immutable: a search
that holds one is not disturbed.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sightline.store.index import Indexes, Tail
    from sightline.types import Half, Keys, Mask


class Loaded(NamedTuple):
    """One segment as it was read: keys ``[n]`` and tokens ``[n,Q,D]`` of its images whose tokens are sound.

    ``sound`` ``[N]`` says which of its images these are (None: all of them).
    """

    file: str
    keys: Keys
    tokens: Half
    sound: Mask | None


class Piece(NamedTuple):
    """Where the images of one segment are in a block."""

    start: int
    stop: int
    sound: Mask | None


@dataclass(frozen=True)
class Block:
    """Some segments as one: an exact scan, its tokens ``[N,Q,D]``, and file → where its images are."""

    number: int
    tail: Tail
    tokens: Half
    pieces: Mapping[str, Piece]

    def allowed(self, chosen: Mapping[str, Mask | None]) -> Mask | None:
        """``[N]``: the sound ones among the images that are chosen of each file (None: all); None: all."""
        whole = all(file in chosen and chosen[file] is None for file in self.pieces)
        if whole:
            return None
        mask = np.zeros(len(self.tokens), np.bool_)
        for file, (start, stop, sound) in self.pieces.items():
            if file in chosen:
                rows = chosen[file]
                mask[start:stop] = True if rows is None else rows if sound is None else rows[sound]
        return mask

    def loaded(self, files: Collection[str]) -> list[Loaded]:
        """What it holds of these files, to be put together with others."""
        keys = self.tail.keys
        return [
            Loaded(file, keys[start:stop], self.tokens[start:stop], sound)
            for file, (start, stop, sound) in self.pieces.items()
            if file in files
        ]


class BlockCache:
    """The blocks used last, up to ``max_bytes`` of tokens. Thread-safe.

    No block is made that holds more than a 32nd of that, unless one segment does.
    """

    def __init__(self, indexes: Indexes, max_bytes: int) -> None:
        self._indexes = indexes
        self._max_bytes = max_bytes
        self.block_bytes = max_bytes // 32
        self._blocks: OrderedDict[int, Block] = OrderedDict()
        self._where: dict[str, int] = {}
        self._bytes = 0
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def find(self, files: Sequence[str]) -> dict[str, Block]:
        """The blocks of those that are here."""
        found: dict[str, Block] = {}
        with self._lock:
            for file in files:
                number = self._where.get(file)
                if number is not None:
                    self._blocks.move_to_end(number)
                    found[file] = self._blocks[number]
        return found

    def put(
        self, new: Sequence[Loaded], absorbed: Sequence[tuple[Block, set[str]]], known: Collection[str]
    ) -> Block:
        """One block of what was read and of older ones, with the files that are needed of each.

        It takes their place, with all that they hold of ``known`` files; of others nothing stays.
        """
        with self._lock:
            kept = [(block, needed | self._held(block, known)) for block, needed in absorbed]
        block = self._made([*(part for old, files in kept for part in old.loaded(files)), *new])
        with self._lock:
            for old, _ in absorbed:
                self._drop(old.number)
            self._add(block)
            while self._bytes > self._max_bytes and self._blocks:
                self._drop(next(iter(self._blocks)))
        return block

    def forget(self, files: Collection[str]) -> None:
        """These are read anew when they are needed; what shares a block with them stays."""
        with self._lock:
            for file in files:
                self._unplace(file)

    def partial(self) -> list[str]:
        """Files of which something is left out."""
        with self._lock:
            placed = [(file, self._blocks[number].pieces[file]) for file, number in self._where.items()]
        return [file for file, piece in placed if piece.sound is not None]

    def _made(self, parts: Sequence[Loaded]) -> Block:
        ends = np.cumsum([len(part.keys) for part in parts]).tolist()
        starts = [0, *ends[:-1]]
        pieces = {
            part.file: Piece(start, stop, part.sound)
            for part, start, stop in zip(parts, starts, ends, strict=True)
        }
        keys = np.concatenate([part.keys for part in parts])
        tokens = parts[0].tokens if len(parts) == 1 else np.concatenate([part.tokens for part in parts])
        return Block(next(self._numbers), self._indexes.of().tail(keys, tokens), tokens, pieces)

    # --- with the lock held -------------------------------------------------------------------------

    def _held(self, block: Block, files: Collection[str]) -> set[str]:
        return {file for file in block.pieces if file in files and self._where.get(file) == block.number}

    def _add(self, block: Block) -> None:
        for file in block.pieces:
            self._unplace(file)
            self._where[file] = block.number
        self._blocks[block.number] = block
        self._bytes += block.tokens.nbytes

    def _unplace(self, file: str) -> None:
        """A block of which no file is left goes."""
        number = self._where.pop(file, None)
        if number is not None and not any(self._where.get(f) == number for f in self._blocks[number].pieces):
            self._drop(number)

    def _drop(self, number: int) -> None:
        block = self._blocks.pop(number, None)
        if block is not None:
            self._bytes -= block.tokens.nbytes
            for file in block.pieces:
                if self._where.get(file) == number:
                    del self._where[file]
