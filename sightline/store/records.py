"""What the catalog takes and gives: frozen records, free of SQLAlchemy.

Times are UTC seconds since the epoch (float). A *key* is the int64 of one embedded version of an image and
is never reused; an *image id* is the user's string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Metadata = Mapping[str, Any]
"""JSON object that the user attached to an image."""

ImageState = Literal["pending", "live", "buried", "failed", "discarded"]
JobKind = Literal["index", "upload", "delete"]
JobState = Literal["registering", "running", "done", "cancelled", "failed"]
TaskState = Literal["ready", "leased", "done", "cancelled"]
SegmentState = Literal["published", "retired"]
Outcome = Literal["unchanged", "pending"]


class Unset(Enum):
    """Marks an argument that was left out where ``None`` is a value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True)
class Collection:
    """A named set of images bound to one model; ``version`` changes with everything that a search can see."""

    id: int
    name: str
    model: str
    revision: str | None
    fingerprint: str
    num_query_tokens: int
    joint_dim: int
    version: int
    created_at: float


@dataclass(frozen=True)
class Image:
    """One version of one image. ``segment_id`` and ``row`` say where its tokens are once it was published."""

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
    segment_id: int | None
    row: int | None
    reason: str | None
    detail: str | None
    created_at: float
    published_at: float | None
    buried_at: float | None


@dataclass(frozen=True)
class Job:
    """One request to index, upload or delete. ``collection`` is the collection's name."""

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


@dataclass(frozen=True)
class Task:
    """One batch of a job's images: the unit that is leased, embedded and published."""

    id: int
    job_id: str
    collection_id: int
    state: TaskState
    owner: str | None
    attempt: int
    lease_expires_at: float | None
    sent_at: float | None
    created_at: float


@dataclass(frozen=True)
class Segment:
    """An immutable segment file of ``count`` rows."""

    id: int
    collection_id: int
    file: str
    sha256: str
    count: int
    codec: str
    bytes: int
    state: SegmentState
    created_at: float
    retired_at: float | None


@dataclass(frozen=True)
class Generation:
    """The current token index of a collection; ``covered``: the ids of the segments whose keys it holds.

    ``kind`` names the backend that knows its file (sightline/store/backends.py).
    """

    collection_id: int
    number: int
    file: str
    sha256: str
    covered: tuple[int, ...]
    images: int
    created_at: float
    kind: str = "flat"


@dataclass(frozen=True)
class ImageLocation:
    """Where the tokens and patches of one key are: row ``row`` of segment file ``file``."""

    key: int
    segment_id: int
    file: str
    row: int
    codec: str


@dataclass(frozen=True)
class Registration:
    """One image to register. No caption (None) and empty metadata mean "not given": what is stored stays."""

    image_id: str
    sha256: str
    uri: str
    bytes: int
    caption: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True)
class Registered:
    """What came of a registration; ``outcomes`` has one (image id, outcome) per item, in order."""

    unchanged: int
    task_ids: list[int]
    outcomes: list[tuple[str, Outcome]]


@dataclass(frozen=True)
class Lease:
    """The right to publish one task until ``expires_at``; ``images``: its pending ones, perhaps none."""

    task_id: int
    owner: str
    attempt: int
    expires_at: float
    collection: Collection
    images: list[Image]


@dataclass(frozen=True)
class NewSegment:
    """A finished segment file: its row i holds ``keys[i]``."""

    file: str
    sha256: str
    codec: str
    bytes: int
    keys: Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class ItemError:
    """Why one image of a job failed."""

    id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Progress:
    """Counts of one job, disjoint: ``indexed`` are new ids only. ``total`` is the sum of all others."""

    indexed: int
    unchanged: int
    replaced: int
    deleted: int
    failed: int
    pending: int
    total: int
    state: JobState


@dataclass(frozen=True)
class Page:
    """One page of images; ``next_cursor`` is None on the last page."""

    items: list[Image]
    next_cursor: str | None


@dataclass(frozen=True)
class Snapshot:
    """All that a query needs to know, read at one instant.

    ``covered`` and ``uncovered`` are the published segments inside and outside of the generation; ``dead``
    are the keys (sorted) that may still occur in these segments or in the generation and must not be found.
    """

    collection: Collection
    generation: Generation | None
    uncovered: list[Segment]
    covered: list[Segment]
    dead: NDArray[np.int64]

    @property
    def segments(self) -> list[Segment]:
        """All published segments: those in the generation first."""
        return [*self.covered, *self.uncovered]
