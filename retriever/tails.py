"""Scans of the segments that no generation covers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sightline.errors import CorruptionError
from sightline.retriever.max_sim import TailPart
from sightline.retriever.positions import both, in_sorted
from sightline.retriever.tail_blocks import Block, BlockCache, Loaded
from sightline.store.durable import FileMissingError

if TYPE_CHECKING:
    from sightline.store.index import Indexes
    from sightline.store.segments import SegmentReader
    from sightline.types import Keys, Mask

log = logging.getLogger(__name__)

TAIL_BYTES: Final = 1 << 30
"""Tokens outside of generations that a process keeps in memory, unless it is told otherwise."""


@dataclass(frozen=True)
class LiveSegment:
    """A segment outside of the generation: keys ``[N]`` and which of them may be found (None: all)."""

    file: str
    keys: Keys
    live: Mask | None


@dataclass
class Losses:
    """What an answer had to do without."""

    index: bool = False
    """The generation: every segment was scanned in its place."""
    segments: dict[str, int] = field(default_factory=dict)
    """File → how many images of it could not be found."""
    patches: int = 0
    """Images that are found as ever, and whose stored patches are gone."""

    def __bool__(self) -> bool:
        return self.index or bool(self.segments)

    def __or__(self, other: Losses) -> Losses:
        segments = self.segments | other.segments
        return Losses(self.index or other.index, segments, self.patches + other.patches)

    def sentences(self) -> tuple[str, ...]:
        """For whoever asked."""
        said = []
        if self.index:
            said.append("The token index is missing or damaged; every image was compared in its place.")
        images, files = sum(self.segments.values()), len(self.segments)
        if self.patches:
            said.append(
                f"The stored patches of {_many(self.patches)} are missing; originals take their place."
            )
        if files:
            where = "a segment file is" if files == 1 else f"{files:,} segment files are"
            said.append(f"{_many(images)} could not be searched, because {where} missing or damaged.")
        return tuple(said)


def _many(images: int) -> str:
    return "1 image" if images == 1 else f"{images:,} images"


class _Needed(NamedTuple):
    """A segment to search, and which of its images may be found (None: all)."""

    segment: LiveSegment
    allowed: Mask | None


class Tails:
    """Scans of what is unfolded, the latest kept, up to ``max_bytes`` of tokens. Thread-safe."""

    def __init__(self, reader: SegmentReader, indexes: Indexes, max_bytes: int = TAIL_BYTES) -> None:
        self._reader = reader
        self._cache = BlockCache(indexes, max_bytes)
        self._told: set[str] = set()

    def parts(
        self, segments: Sequence[LiveSegment], wanted: Keys | None, lost: Losses, *, tolerant: bool = False
    ) -> Iterator[TailPart]:
        """What to search outside of the generation; ``wanted`` is sorted (None: no filter).

        Images whose tokens are damaged are left out and counted in ``lost``. A segment that is missing is
        `FileMissingError`: the builder may have removed it; when ``tolerant``, it counts as damaged.
        """
        needed: dict[str, _Needed] = {}
        for segment in segments:
            chosen = None if wanted is None else in_sorted(segment.keys, wanted)
            allowed = both(segment.live, chosen)
            if allowed is None or allowed.any():
                needed[segment.file] = _Needed(segment, allowed)
        for block, files in self._blocks(needed, {segment.file for segment in segments}, lost, tolerant):
            for file in files:
                self._count(needed[file].segment, block.pieces[file].sound, lost)
            yield TailPart(block.tail, block.allowed({file: needed[file].allowed for file in files}))

    def forget_partial(self) -> None:
        """Scans that had to leave something out are made again when they are needed."""
        self._cache.forget(self._cache.partial())

    def _blocks(
        self, needed: Mapping[str, _Needed], known: Collection[str], lost: Losses, tolerant: bool
    ) -> Iterator[tuple[Block, set[str]]]:
        """Blocks that hold all that is needed and can be had, each with the files that it is needed for.

        ``known`` are the files of this version of the collection: what blocks hold of others is dropped.
        """
        found = self._cache.find(list(needed))
        blocks = {block.number: block for block in found.values()}
        files: dict[int, set[str]] = {number: set() for number in blocks}
        for file, block in found.items():
            files[block.number].add(file)
        missing = [one.segment for file, one in needed.items() if file not in found]
        if sum(len(one.keys) for one in missing) > sum(len(block.tokens) for block in blocks.values()):
            # Much is read anew, maybe more than can be kept: nothing is held back for it.
            yield from ((block, files[number]) for number, block in blocks.items())
            blocks = {}
        for loaded in self._loaded(missing, lost, tolerant):
            absorbed = [
                (blocks.pop(old.number), files[old.number])
                for old in self._fitting(loaded, list(blocks.values()))
            ]
            taken = {one.file for one in loaded}.union(*(inside for _, inside in absorbed))
            yield self._cache.put(loaded, absorbed, known), taken
        yield from ((block, files[number]) for number, block in blocks.items())

    def _fitting(self, loaded: Sequence[Loaded], blocks: list[Block]) -> list[Block]:
        """The blocks to put together with what was read: smallest first, none larger than all before it."""
        size = sum(one.tokens.nbytes for one in loaded)
        chosen: list[Block] = []
        for block in sorted(blocks, key=lambda block: block.tokens.nbytes):
            if block.tokens.nbytes > size or size + block.tokens.nbytes > self._cache.block_bytes:
                break
            chosen.append(block)
            size += block.tokens.nbytes
        return chosen

    def _loaded(
        self, segments: Sequence[LiveSegment], lost: Losses, tolerant: bool
    ) -> Iterator[list[Loaded]]:
        """The tokens of segments, as many together as one block may hold."""
        together: list[Loaded] = []
        size = 0
        for segment in segments:
            one = self._load(segment, lost, tolerant)
            if one is None:
                continue
            if together and size + one.tokens.nbytes > self._cache.block_bytes:
                yield together
                together, size = [], 0
            together.append(one)
            size += one.tokens.nbytes
        if together:
            yield together

    def _load(self, segment: LiveSegment, lost: Losses, tolerant: bool) -> Loaded | None:
        """None when nothing of it can be had, which is counted and told."""
        file = segment.file
        try:
            keys, tokens = self._reader.sound_tokens(file)
        except (OSError, CorruptionError, FileMissingError) as error:
            if isinstance(error, FileMissingError) and not tolerant:
                raise
            self._tell(file, str(error))
            lost.segments[file] = len(segment.keys) if segment.live is None else int(segment.live.sum())
            return None
        sound = None if len(keys) == len(segment.keys) else np.isin(segment.keys, keys)
        if sound is not None:
            self._tell(file, f"The tokens of {int((~sound).sum())} images in {file} are damaged.")
        return Loaded(file, keys, tokens, sound)

    def _count(self, segment: LiveSegment, sound: Mask | None, lost: Losses) -> None:
        if sound is not None:
            missed = ~sound if segment.live is None else segment.live & ~sound
            if missed.any():
                lost.segments[segment.file] = int(missed.sum())

    def _tell(self, file: str, what: str) -> None:
        """Once for each file: it may be asked for many times a second."""
        if file not in self._told:
            self._told.add(file)
            log.error("%s", what)
