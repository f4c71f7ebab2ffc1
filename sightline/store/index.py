"""The contract for indexes: what a backend (flat files, IVF files, Milvus) does, and what it must keep to.

An index is derived from segments. A *generation* is one immutable state of it, named by a row of the catalog
(`sightline.store.records.Generation`: kind, file, SHA-256, the segments whose live keys it holds). Each kind
of generation has one backend, registered in `sightline.store.backends`; nobody else knows its files.

What every backend keeps to (`tests/store/test_store_index_contract.py` runs over all that are registered):

- **Membership may be approximate, scores never are.** A backend only names candidates. The images found are
  scored from their fp16 tokens in fp64 by common code (`sightline.retriever.max_sim`), ties by key, so that
  an image scores the same folded or not, whatever the kind. A backend that is not ``exact`` keeps no tokens:
  it reads those of its finalists where segments hold them (`StoredTokens`) and names their best rows.
- **Dead keys and filters are a selector.** ``allowed`` is applied while searching, never to what was found:
  the few that are allowed are found however many others score better.
- **Immutable, and readers undisturbed.** A generation is written under a name that was never used, complete
  and durable before `build` returns. What is open stays usable, from any thread, after `remove`.
- **Nothing is trusted.** `open` raises rather than answer from bytes that are not what was written.

Shapes: N images · Q tokens of an image · D joint dim · T texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sightline.errors import NotFoundError

if TYPE_CHECKING:
    from sightline.store.own_files import OwnFiles
    from sightline.store.sample_texts import SampleTexts
    from sightline.store.segments import SegmentReader
    from sightline.types import Half, Keys, Mask, Vector

Device = Literal["auto", "cpu", "cuda"]
"""Where an index may search. ``auto``: a GPU where there is one; ``cuda``: a GPU or an error."""

Rows = NDArray[np.int64]
"""Token rows: row r is token r % Q of the image whose key is ``keys[r // Q]``. In any order."""


class SoundTokens(NamedTuple):
    """Of the images that were asked for, those ``[n]`` (by position) whose tokens ``[n,Q,D]`` are sound."""

    positions: NDArray[np.intp]
    tokens: Half


class StoredTokens(Protocol):
    """Tokens as published segments hold them: what an index that keeps none reads them from. Thread-safe.

    `FileMissingError` when a segment is gone: the builder may have replaced it, so the query begins anew.
    """

    def images(self, keys: Keys) -> SoundTokens:
        """All Q tokens of images, each row checked. What is damaged or not there is left out and counted."""
        ...

    def rows(self, keys: Keys, tokens: NDArray[np.integer[Any]]) -> Half:
        """fp16 ``[n,D]``: one token, of 0 … Q − 1, of each image, as it lies there: unchecked, to choose
        finalists by. What cannot be had is zero.
        """
        ...


class CandidateIndex(Protocol):
    """An opened generation: membership only."""

    @property
    def exact(self) -> bool:
        """Whether no wanted image is ever missed."""
        ...

    @property
    def recall(self) -> float:
        """The part of the best 100 that it finds, as measured when it was built; 1 when it is exact."""
        ...

    @property
    def keys(self) -> Keys:
        """int64 ``[N]``: the images that it holds, each once."""
        ...

    @property
    def queries(self) -> int:
        """Q."""
        ...

    def candidates(
        self, vectors_TD: Vector, wanted: int, allowed: Mask | None, probes: int | None
    ) -> Sequence[Rows]:
        """For each unit vector, rows of what may be its ``wanted`` best images, of those allowed only.

        Of each image that it names, every row that may be its best. ``allowed`` is ``[N]`` (None: all).
        ``probes`` is how hard an approximate index looks (None: as was found when it was built, by how many
        are allowed); an exact one ignores it.
        """
        ...

    def tokens_at(self, rows: Rows) -> Half:
        """fp16 ``[len(rows), D]``: the tokens as the segments hold them, bit by bit.

        `CorruptionError` when they are not what was written (of images that `candidates` did not name).
        """
        ...

    def is_intact(self) -> bool:
        """Whether what it reads is still what was opened, as far as can be said at next to no cost.

        Asked before each query; when it is not, it is dropped untouched and opened, and verified, anew.
        """
        ...


class Wanted(NamedTuple):
    """The best ``images`` images that score at least ``floor``; ``expected`` of them are likely here."""

    images: int
    floor: float
    expected: int


class Tail(CandidateIndex, Protocol):
    """One segment that is published but not covered by the generation. Always exact."""

    def best_rows(self, vector_D: Vector, wanted: Wanted, allowed: Mask | None) -> Rows:
        """As `candidates` for one vector; images below the floor may be left out."""
        ...


class CoveredSegment(Protocol):
    """What a build needs to know of a published segment: `sightline.store.records.Segment` fits."""

    @property
    def id(self) -> int: ...
    @property
    def file(self) -> str: ...


class StoredIndex(Protocol):
    """What names a generation: `sightline.store.records.Generation` fits."""

    @property
    def file(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def covered(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class BuildRequest:
    """What a generation shall hold: everything in ``segments`` but the ``dead`` keys, each key once.

    ``serving``: one of the same kind that may be grown: the new one may share its parts and what was
    trained, and keeps them alive. ``strict``: no file that the new one names may hold a dead key (a purge);
    otherwise shared parts may go on holding some, which are never found.
    ``texts``: what users ask, for kinds that learn from it. ``recall_target``: the part of the best 100 that
    must be found.
    """

    segments: Sequence[CoveredSegment]
    dead: Keys
    serving: StoredIndex | None = None
    strict: bool = False
    texts: SampleTexts | None = None
    recall_target: float = 0.99


class BuiltIndex(NamedTuple):
    """A finished generation that no row of the catalog names yet.

    ``covered`` are the ids of its segments, ``images`` how many it holds, ``bytes`` what it takes on disk.
    ``recall`` was measured (1: exact). ``parameters`` is kept with the row, as JSON: ``files``, all other
    files that it needs, ``recall``, and what else its kind wants told to people.
    """

    file: str
    sha256: str
    bytes: int
    covered: tuple[int, ...]
    images: int
    recall: float = 1.0
    parameters: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class IndexReport:
    """What a generation holds: keys ``[N]``, bytes on disk, and whether it is sound.

    ``problem`` is the sentence that says why it cannot be searched (None: it can); its keys are empty then.
    """

    kind: str
    keys: Keys
    bytes: int
    problem: str | None = None


class IndexBackend(Protocol):
    """One kind of index. Thread-safe. ``file`` is the name that `build` gave, whatever it names."""

    @property
    def exact(self) -> bool:
        """Whether its generations are; they hold all tokens then, and need no `StoredTokens`."""
        ...

    @property
    def files(self) -> OwnFiles:
        """All that it stores, finished or not: files with an ending of its own in one folder."""
        ...

    def build(self, reader: SegmentReader, request: BuildRequest) -> BuiltIndex:
        """One new generation.

        `InputError` without segments, when they are of different models, or when a kind that learns from
        texts has none; `CorruptionError` when the tokens of a segment are not what was written,
        `FileMissingError` when one is gone; nothing is left then.
        """
        ...

    def open(self, file: str, sha256: str, tokens: StoredTokens | None = None) -> CandidateIndex:
        """`FileMissingError` or `CorruptionError` unless it is there and is what was built.

        ``tokens``: of the segments that it covers; without them one that is not exact only tells its keys.
        """
        ...

    def tail(self, keys: Keys, tokens_NQD: Half) -> Tail:
        """An exact scan of one segment, which holds its tokens in memory and no file open."""
        ...

    def verify(self, file: str, sha256: str, *, quick: bool = False) -> None:
        """As `open`, without opening. ``quick``: only whether it is there, which costs next to nothing."""
        ...

    def report(self, file: str, sha256: str) -> IndexReport:
        """What it holds, after looking at all of it; raises nothing for what is missing or damaged."""
        ...

    def erase(self, keys: Keys) -> None:
        """Delete all that holds one of these keys, finished or not, named by a row or not."""
        ...

    def remove(self, file: str) -> None:
        """Delete it; nothing when it is gone. Whoever has it open may go on."""
        ...


class SyncedIndex(NamedTuple):
    """What was done to make a server hold again what a generation names.

    ``recreated``: what should hold it was gone. Images that were ``inserted`` again; ``deleted``, because
    nobody names them; and ``lacking``: in no segment any more.
    """

    recreated: bool
    inserted: int
    deleted: int
    lacking: int


@runtime_checkable
class RemoteIndexBackend(IndexBackend, Protocol):
    """One whose generations lie on a server that may lose something. `IndexUnavailableError` when it is away:
    of `IndexBackend.open`, ``build``, ``verify``, ``erase``, ``remove``, and of `CandidateIndex.candidates`.
    """

    def sync(self, file: str, reader: SegmentReader, segments: Sequence[CoveredSegment]) -> SyncedIndex:
        """Make the server hold what this generation names, from these segments.

        `FileMissingError` or `CorruptionError` when the file here is not what was written, or a segment.
        """
        ...


@dataclass(frozen=True)
class Indexes:
    """The backends of an installation by kind. ``default`` is that of a collection's first generation."""

    backends: Mapping[str, IndexBackend]
    default: str

    def of(self, kind: str | None = None) -> IndexBackend:
        """The backend of a kind (None: the default); `NotFoundError` for one that is not registered."""
        kind = self.default if kind is None else kind
        if kind not in self.backends:
            known = ", ".join(sorted(self.backends))
            raise NotFoundError(f"There is no index of kind {kind!r} here; known are {known}.")
        return self.backends[kind]
