"""What the catalog takes and gives: frozen records, free of SQLAlchemy.

Times are UTC seconds since the epoch (float). A *key* is the int64 of one embedded version of an image and
is never reused; an *image id* is the user's string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Metadata = Mapping[str, Any]
"""JSON object that the user attached to an image."""

ImageState = Literal["pending", "live", "trashed", "buried", "failed", "discarded"]
"""``trashed``: not found by searches, and everything of it is kept, so that it can be restored."""
JobKind = str
"""``index``, ``upload``, or what its tasks do, such as ``caption``."""
TaskKind = str
"""``embed``, or the kind of a job that reads live images, such as ``caption``."""
JobState = Literal["registering", "running", "done", "cancelled", "failed"]
ENDED: Final[frozenset[JobState]] = frozenset({"done", "cancelled", "failed"})
"""States of jobs that nothing happens to any more, unless somebody asks for a retry."""
TaskState = Literal["ready", "leased", "done", "cancelled"]
SegmentState = Literal["published", "retired"]
Outcome = Literal["unchanged", "pending", "id_taken", "broken"]
"""``broken``: no decoder could read these bytes before.
``id_taken``: other bytes have the id, and they came from another source. Nothing was done.
"""


class Unset(Enum):
    """Marks an argument that was left out where ``None`` is a value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET

EMBED: Final = "embed"
"""The kind of task that makes pending images searchable."""
FLAT: Final = "flat"
"""The kind of generation that holds all tokens as they are."""
MILVUS: Final = "milvus"
"""The kind of generation whose rows lie on a Milvus server."""
AUTO: Final = "auto"
"""In place of a kind: whatever fits a collection of this size."""
EXACT: Final = "exact"
"""In place of a kind: one that never misses an image."""
IVF_RABITQ: Final = "ivf-rabitq"
"""Inverted lists of the tokens that may win, two bits a dimension, in memory."""
IVF_SQ8: Final = "ivf-sq8"
"""The same with eight bits a dimension, mapped."""
LISTING: Final = "register:"
"""A job's id after this is the name of the lease under which its images are registered."""
LOST: Final = "lost"
"""The reason of a failed image that was indexed, and whose tokens and original both cannot be had now."""
BROKEN: Final = frozenset({"not_an_image", "truncated", "video", "pdf", "svg"})
"""Reasons that the bytes alone give: the same bytes are not tried again when a source is listed again."""
SKIPPED_KINDS: Final = "skipped"
KNOWN_BROKEN: Final = "known_broken"
"""Where a job's request says what its sources had that is no picture, and what was broken before."""
UPLOADED: Final = "upload:"
"""The source of what was uploaded."""
UNKNOWN: Final = "unknown:"
"""Stands for the source of what came before sources were kept."""
COPIED: Final = "blob:"
"""What the address of a copy in our own store begins with; its SHA-256 follows."""


@dataclass(frozen=True)
class Collection:
    """A named set of images; ``version`` changes with everything that a search can see.

    The model is that of ``feature_set_id``, the feature set that serves. ``index_kind`` is what was asked for
    this collection: ``auto``, ``exact`` or a kind; None: what the installation says.
    """

    id: int
    name: str
    model: str
    revision: str | None
    fingerprint: str
    num_query_tokens: int
    joint_dim: int
    version: int
    created_at: float
    feature_set_id: int
    index_kind: str | None = None


@dataclass(frozen=True)
class Image:
    """One version of one image. ``source`` is unknown (None) when it came before sources were kept."""

    key: int
    collection_id: int
    image_id: str
    sha256: str
    uri: str
    caption: str | None
    metadata: Metadata
    width: int | None
    height: int | None
    bytes: int
    state: ImageState
    job_id: str | None
    task_id: int | None
    replaces_key: int | None
    reason: str | None
    detail: str | None
    created_at: float
    published_at: float | None
    buried_at: float | None
    trashed_at: float | None
    source: str | None


@dataclass(frozen=True)
class Job:
    """One request to index, to upload, or to do something with images. ``collection`` is its name.

    ``detail``: one sentence, or None: why it failed, or while it goes on what its workers run into.
    """

    id: str
    collection_id: int
    collection: str
    kind: JobKind
    state: JobState
    sealed: bool
    unchanged: int
    deleted: int
    request: Mapping[str, Any]
    created_at: float
    updated_at: float
    detail: str | None
    broken: bool = False
    refreshed: int = 0
    duplicates: int = 0

    @property
    def skipped(self) -> dict[str, int]:
        """Kind (``video``) → how many files of its sources are of it, and so no pictures."""
        return dict(self.request.get(SKIPPED_KINDS, {}))

    @property
    def known_broken(self) -> int:
        """Files that could not be decoded before, whose bytes are the same; they were not tried again."""
        return int(self.request.get(KNOWN_BROKEN, 0))


@dataclass(frozen=True)
class Task:
    """One batch of a job's images: the unit that is leased, worked on and finished."""

    id: int
    job_id: str
    collection_id: int
    state: TaskState
    owner: str | None
    attempt: int
    lease_expires_at: float | None
    sent_at: float | None
    created_at: float
    kind: TaskKind
    lease_seconds: float | None
    deaths: int
    errors: int
    turn: int


@dataclass(frozen=True)
class Segment:
    """An immutable segment file of ``count`` rows, of one feature set."""

    id: int
    file: str
    sha256: str
    count: int
    codec: str
    bytes: int
    state: SegmentState
    created_at: float
    retired_at: float | None
    feature_set_id: int


@dataclass(frozen=True)
class Generation:
    """A token index of a feature set; ``covered``: the ids of the segments whose keys it holds."""

    feature_set_id: int
    number: int
    file: str
    sha256: str
    covered: tuple[int, ...]
    images: int
    created_at: float
    kind: str = FLAT
    parameters: Mapping[str, Any] = field(default_factory=dict)


CHOICE: Final = "choice"
"""Where a generation's parameters keep why it is of its kind."""


def choice_of(generation: Generation | None) -> Mapping[str, Any]:
    """What was found when its kind was chosen: ``why``, a sentence, and what was refused; empty: nobody said.

    `sightline.indexer.building.kinds` writes it.
    """
    found = None if generation is None else generation.parameters.get(CHOICE)
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class ImageLocation:
    """Where the tokens and patches of one key are: row ``row`` of segment file ``file``."""

    key: int
    segment_id: int
    file: str
    row: int
    codec: str


@dataclass(frozen=True)
class NewSegment:
    """A finished segment file: its row i holds ``keys[i]``."""

    file: str
    sha256: str
    codec: str
    bytes: int
    keys: Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class Page:
    """One page of images; ``next_cursor`` is None on the last page."""

    items: list[Image]
    next_cursor: str | None


@dataclass(frozen=True)
class Overview:
    """One collection and how much it holds: ``counts`` as `collection_counts` gives them, and the number (0:
    none) and the images of the generation that serves.
    """

    collection: Collection
    counts: dict[str, int]
    generation: int
    generation_images: int


@dataclass(frozen=True)
class Snapshot:
    """All that a query needs to know, read at one instant.

    All of it is of the feature set that serves, and of its generation that serves. ``covered`` and
    ``uncovered`` are the published segments inside and outside of the generation; ``dead`` are the keys
    (sorted) that may still occur in these segments or in the generation and must not be found. Of these
    ``trashed`` may come back: whoever writes a segment or a generation keeps them and leaves out ``gone``.
    """

    collection: Collection
    generation: Generation | None
    uncovered: list[Segment]
    covered: list[Segment]
    dead: NDArray[np.int64]
    trashed: NDArray[np.int64]

    @property
    def gone(self) -> NDArray[np.int64]:
        """The dead keys that never come back, sorted."""
        import numpy as np

        return np.setdiff1d(self.dead, self.trashed, assume_unique=True)

    @property
    def segments(self) -> list[Segment]:
        """All published segments: those in the generation first."""
        return [*self.covered, *self.uncovered]
