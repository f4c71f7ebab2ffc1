"""Scans of the segments that no generation covers."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sightline.errors import CorruptionError
from sightline.retriever.max_sim import TailPart
from sightline.retriever.positions import both, in_sorted
from sightline.store.durable import FileMissingError

if TYPE_CHECKING:
    from sightline.store.index import Indexes, Tail
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


class _Kept(NamedTuple):
    """A scan of the images of a segment whose tokens are sound: the rows ``sound`` (None: all of them)."""

    tail: Tail
    sound: Mask | None
    bytes: int


class Tails:
    """Scans of single segments, the latest of them kept, up to ``max_bytes`` of tokens. Thread-safe."""

    def __init__(self, reader: SegmentReader, indexes: Indexes, max_bytes: int = TAIL_BYTES) -> None:
        self._reader = reader
        self._indexes = indexes
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def parts(
        self, segments: Sequence[LiveSegment], wanted: Keys | None, lost: Losses, *, tolerant: bool = False
    ) -> Iterator[TailPart]:
        """What to search outside of the generation; ``wanted`` is sorted (None: no filter).

        Images whose tokens are damaged are left out and counted in ``lost``. A segment that is missing is
        `FileMissingError`: the builder may have removed it; when ``tolerant``, it counts as damaged.
        """
        for segment in segments:
            chosen = None if wanted is None else in_sorted(segment.keys, wanted)
            allowed = both(segment.live, chosen)
            if allowed is None or allowed.any():
                yield from self._part(segment, allowed, lost, tolerant)

    def forget_partial(self) -> None:
        """Scans that had to leave something out are made again when they are needed."""
        with self._lock:
            for file in [file for file, kept in self._kept.items() if kept.sound is not None]:
                self._bytes -= self._kept.pop(file).bytes

    def _part(
        self, segment: LiveSegment, allowed: Mask | None, lost: Losses, tolerant: bool
    ) -> Iterator[TailPart]:
        live = np.ones(len(segment.keys), np.bool_) if segment.live is None else segment.live
        try:
            tail, sound, _ = self._get(segment)
        except (OSError, CorruptionError, FileMissingError) as error:
            if isinstance(error, FileMissingError) and not tolerant:
                raise
            self._tell(segment.file, str(error))
            lost.segments[segment.file] = int(live.sum())
            return
        if sound is None:
            yield TailPart(tail, allowed)
            return
        if missed := int((live & ~sound).sum()):
            lost.segments[segment.file] = missed
        yield TailPart(tail, None if allowed is None else allowed[sound])

    def _tell(self, file: str, what: str) -> None:
        """Once for each file: it may be asked for many times a second."""
        if file not in self._told:
            self._told.add(file)
            log.error("%s", what)

    def _get(self, segment: LiveSegment) -> _Kept:
        file = segment.file
        with self._lock:
            if file in self._kept:
                self._kept.move_to_end(file)
                return self._kept[file]
        keys, tokens = self._reader.sound_tokens(file)
        sound = None if len(keys) == len(segment.keys) else np.isin(segment.keys, keys)
        kept = _Kept(self._indexes.of().tail(keys, tokens), sound, tokens.nbytes)
        if sound is not None:
            self._tell(file, f"The tokens of {int((~sound).sum())} images in {file} are damaged.")
        with self._lock:
            if file not in self._kept:
                self._kept[file] = kept
                self._bytes += kept.bytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].bytes
        return kept
