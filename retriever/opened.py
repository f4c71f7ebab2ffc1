"""Opened snapshots: what one version of a collection looks like to a query.

Immutable; a new version gets a new one. It holds the opened generation and, for each segment outside of it,
the keys and which of them are live. The tokens of those segments stay on disk and come through a bounded
cache.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sightline.errors import CorruptionError, IndexUnavailableError, NotFoundError
from sightline.retriever.max_sim import Part
from sightline.retriever.positions import Positions, both, in_sorted, without
from sightline.retriever.tails import LiveSegment, Losses
from sightline.store.durable import FileMissingError
from sightline.store.segment_tokens import SegmentTokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sightline.retriever.filtered_keys import FilteredKeys
    from sightline.store.index import CandidateIndex, Indexes
    from sightline.store.records import Generation, Segment, Snapshot
    from sightline.store.segment_head import SegmentHead
    from sightline.store.segments import SegmentReader
    from sightline.types import Keys, Mask


LOOK_AGAIN_SECONDS: Final = 30.0
"""How soon what was missing or damaged is looked at again; a new version of the collection is at once."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedGeneration:
    """The serving generation, where its keys are in it, and which of them may be found (None: all)."""

    number: int
    file: str
    index: CandidateIndex
    positions: Positions
    live: Mask | None
    tokens: SegmentTokens | None
    """Where an index that holds none reads them."""


@dataclass(frozen=True)
class OpenedSnapshot:
    """One version of one collection. Without a generation every segment is scanned.

    ``lost`` is what of it could not be opened, at the time ``at`` of the opener's clock.
    """

    collection_id: int
    version: int
    joint_dim: int
    generation: OpenedGeneration | None
    segments: tuple[LiveSegment, ...]
    lost: Losses
    at: float

    def recall(self) -> float | None:
        """The part of the best 100 that is found; None when nothing is missed."""
        exact = self.generation is None or self.generation.index.exact
        return None if exact or self.generation is None else self.generation.index.recall

    def losses(self) -> Losses:
        """What is lacking now: what could not be opened, and what was found damaged since."""
        tokens = None if self.generation is None else self.generation.tokens
        return self.lost if tokens is None else self.lost | Losses(segments=tokens.losses())

    def is_intact(self) -> bool:
        """Whether the generation may still be read."""
        return self.generation is None or self.generation.index.is_intact()

    def is_at_least(self, collection_id: int, version: int) -> bool:
        """Whether a query that saw this version in the catalog may be answered from here."""
        return self.collection_id == collection_id and self.version >= version

    def generation_part(self, fitting: FilteredKeys | None) -> Part | None:
        """What to search in the generation; ``fitting`` is what passes a filter (None: no filter)."""
        if self.generation is None:
            return None
        chosen = None if fitting is None else fitting.mask(self.generation.positions)
        return Part(self.generation.index, both(self.generation.live, chosen))

    def generation_part_of(self, keys: Keys) -> Part | None:
        """The images of the generation that have these keys."""
        if self.generation is None:
            return None
        chosen = self.generation.positions.mask(keys)
        return Part(self.generation.index, both(self.generation.live, chosen))


class SnapshotOpener:
    """Opens snapshots. ``clock`` is in seconds and never goes back."""

    def __init__(
        self, reader: SegmentReader, indexes: Indexes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = reader
        self._indexes = indexes
        self._clock = clock
        self._broken: dict[str, float] = {}
        """Generation file → when it was found broken."""
        self._gone: set[str] = set()
        """Segment files that were missing for good when they were last looked for."""

    def is_old(self, opened: OpenedSnapshot) -> bool:
        """Whether it was opened so long ago that what was missing then is worth another look."""
        return self._clock() - opened.at >= LOOK_AGAIN_SECONDS

    def open(
        self, snapshot: Snapshot, previous: OpenedSnapshot | None, *, tolerant: bool = False
    ) -> OpenedSnapshot:
        """What ``previous`` has opened already is used again, unless somebody wrote to it.

        In place of a generation that is missing, damaged, unknown or out of reach, all segments are scanned.
        A damaged segment is left out. One that is missing is `FileMissingError`, because the builder may have
        removed it meanwhile; when ``tolerant``, or when it was known to be, it is left out as well.
        """
        collection, lost = snapshot.collection, Losses()
        generation = self._generation(snapshot, previous, lost, tolerant)
        if generation is None and snapshot.generation is not None:
            lost.index = True
        segments = snapshot.segments if generation is None else snapshot.uncovered
        live = tuple(self._live_segments(segments, snapshot.dead, previous, lost, tolerant))
        return OpenedSnapshot(
            collection.id, collection.version, collection.joint_dim, generation, live, lost, self._clock()
        )

    def missing(self, snapshot: Snapshot) -> tuple[str, ...]:
        """What answers have to do without, as far as the names of files tell."""
        lost, serving = Losses(), snapshot.generation
        if serving is not None:
            try:
                self._indexes.of(serving.kind).verify(serving.file, serving.sha256, quick=True)
            except (OSError, NotFoundError, CorruptionError):
                lost.index = True
        gone = [one for one in snapshot.segments if not self._reader.exists(one.file)]
        holds_tokens = serving is not None and not lost.index and self._is_exact(serving)
        covered = {one.file for one in snapshot.covered} if holds_tokens else set()
        lost.segments = {one.file: one.count for one in gone if one.file not in covered}
        lost.patches = sum(one.count for one in gone if one.file in covered)
        return lost.sentences()

    def give_up(self, opened: OpenedSnapshot, error: Exception) -> None:
        """Do without its generation for a while: it failed while it was searched."""
        if opened.generation is not None:
            self._broken[opened.generation.file] = self._clock()
            log.error("A token index cannot be searched; every segment is scanned: %s", error)

    def _is_broken(self, file: str) -> bool:
        """Whether it failed a moment ago."""
        return self._clock() - self._broken.get(file, -float("inf")) < LOOK_AGAIN_SECONDS

    def _generation(
        self, snapshot: Snapshot, previous: OpenedSnapshot | None, lost: Losses, tolerant: bool
    ) -> OpenedGeneration | None:
        serving = snapshot.generation
        if serving is None:
            return None
        old = None if previous is None else previous.generation
        if self._is_broken(serving.file):
            return None
        if old is not None and old.file == serving.file and old.index.is_intact():
            index, positions, tokens = old.index, old.positions, old.tokens
        else:
            exact, one = self._is_exact(serving), snapshot.collection
            folder = self._reader.folder
            tokens = None if exact else SegmentTokens(folder, one.num_query_tokens, one.joint_dim)
            opened = self._open(snapshot.collection.name, serving, tokens)
            if opened is None:
                return None
            index, positions = opened, Positions(opened.keys)
        if tokens is not None:
            self._cover(tokens, snapshot.covered, lost, tolerant)
        live = without(positions.mask(snapshot.dead))
        return OpenedGeneration(serving.number, serving.file, index, positions, live, tokens)

    def _cover(self, tokens: SegmentTokens, covered: Sequence[Segment], lost: Losses, tolerant: bool) -> None:
        """Tokens are read from these segments from now on, as far as they can be."""
        known, files = tokens.known, {one.file for one in covered}
        heads = []
        for segment in covered:
            if segment.file not in known:
                head = self._head(segment, tolerant)
                if head is not None:
                    heads.append((segment.file, head))
        tokens.cover(known - files, heads)
        there = tokens.known
        lost.segments |= {one.file: one.count for one in covered if one.file not in there}

    def _is_exact(self, serving: Generation) -> bool:
        return serving.kind not in self._indexes.backends or self._indexes.of(serving.kind).exact

    def _open(self, name: str, serving: Generation, tokens: SegmentTokens | None) -> CandidateIndex | None:
        try:
            return self._indexes.of(serving.kind).open(serving.file, serving.sha256, tokens)
        except (OSError, NotFoundError, CorruptionError, IndexUnavailableError) as error:
            self._broken[serving.file] = self._clock()
            away = isinstance(error, IndexUnavailableError)
            what = "cannot be reached" if away else "must be built again"
            log.error("The token index of %s %s; every segment is scanned: %s", name, what, error)
            return None

    def _live_segments(
        self,
        segments: list[Segment],
        dead: Keys,
        previous: OpenedSnapshot | None,
        lost: Losses,
        tolerant: bool,
    ) -> Iterator[LiveSegment]:
        known: Mapping[str, LiveSegment] = {} if previous is None else {s.file: s for s in previous.segments}
        for segment in segments:
            old = known.get(segment.file)
            head = None if old is not None else self._head(segment, tolerant)
            if old is not None:
                yield LiveSegment(segment.file, old.keys, without(in_sorted(old.keys, dead)))
            elif head is not None:
                yield LiveSegment(segment.file, head.keys, without(in_sorted(head.keys, dead)))
            else:
                lost.segments[segment.file] = segment.count

    def _head(self, segment: Segment, tolerant: bool) -> SegmentHead | None:
        """Who is in a segment; None when that cannot be said."""
        try:
            head = self._reader.head(segment.file)
        except FileMissingError as error:
            if not tolerant and segment.file not in self._gone:
                raise
            self._gone.add(segment.file)
            log.error("%s", error)
            return None
        except (OSError, CorruptionError) as error:
            log.error("%s", error)
            return None
        self._gone.discard(segment.file)
        return head
