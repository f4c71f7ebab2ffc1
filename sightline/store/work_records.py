"""What the catalog takes and gives of work: registrations, leases, listings, progress. See `records`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sightline.store.records import (
    EMBED,
    Collection,
    Image,
    Job,
    JobState,
    Metadata,
    NewSegment,
    Outcome,
    TaskKind,
)


@dataclass(frozen=True)
class Registration:
    """One image to register. No caption, no source (None) and empty metadata mean "not given": what is stored
    stays. ``source``: the address of the source that it came from.
    """

    image_id: str
    sha256: str
    uri: str
    bytes: int
    caption: str | None = None
    metadata: Metadata = field(default_factory=dict)
    source: str | None = None


@dataclass(frozen=True)
class Failure:
    """One failure line of a job: ``reason`` is a short code, ``detail`` a sentence.

    ``source``: where it stands, if unusable, so that it is not pruned.
    """

    image_id: str
    uri: str
    reason: str
    detail: str
    source: str | None = None


@dataclass(frozen=True)
class Registered:
    """What came of a registration: one (image id, outcome) per item, in order. ``holders``: of every id that
    was taken, the source of the picture that has it (None: unknown)."""

    unchanged: int
    task_ids: list[int]
    outcomes: list[tuple[str, Outcome]]
    holders: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Pruning:
    """Of the live ``images`` of a source a job has not met ``gone``; ``examples``: their first few ids."""

    source: str
    images: int
    gone: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Lease:
    """The right to finish one task until ``expires_at``.

    ``images``: those that still wait, perhaps none: pending ones to embed, live ones for any other kind.
    ``deaths``: so many leases of the task in a row, up to now, ran out without a word from their worker.
    ``errors``: so many attempts ended in an unexpected error. ``job_id``: the job that the task is of; that
    of an image is the one that brought it in.
    """

    task_id: int
    owner: str
    attempt: int
    expires_at: float
    collection: Collection
    images: list[Image]
    kind: TaskKind = EMBED
    deaths: int = 0
    errors: int = 0
    job_id: str = ""


@dataclass(frozen=True)
class FeatureSegment:
    """Features that a task made of its images on the way: a finished segment of a feature set.

    Its keys are all of the task's images, or some of them.
    """

    feature_set_id: int
    segment: NewSegment


@dataclass(frozen=True)
class Backlog:
    """What waits for workers: ages in seconds of the oldest task that owes an outcome (``pending_seconds``)
    and of the oldest that nobody has in hand (``ready_seconds``); 0 when there is none.

    ``leased``: tasks that somebody has in hand.
    """

    pending_seconds: float
    ready_seconds: float
    leased: int


@dataclass(frozen=True)
class Listing:
    """A job whose images are still being registered. ``sign`` changes for as long as somebody does it;
    ``leased``: whether anybody ever said so; ``free``: whether another may take it over now.
    """

    job: Job
    sign: float
    leased: bool
    free: bool


@dataclass(frozen=True)
class ItemError:
    """Why one image of a job failed."""

    id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class JobReport:
    """A job, its counts and its first failures, all of one instant."""

    job: Job
    progress: Progress
    errors: list[ItemError]


@dataclass(frozen=True)
class ErrorPage:
    """One page of a job's failures; ``total``: how many in all. ``next_cursor``: None on the last."""

    items: list[ItemError]
    next_cursor: str | None
    total: int


@dataclass(frozen=True)
class Progress:
    """Counts of one job, disjoint: ``indexed`` are new ids only. ``total`` is the sum of all others.

    ``processed``: images that tasks of another kind than ``embed`` are done with. ``detail``: the job's.
    Beside the sum: of the unchanged ``refreshed`` were met at another address than before, and
    ``duplicates`` were named once more.
    """

    indexed: int
    unchanged: int
    replaced: int
    deleted: int
    failed: int
    pending: int
    total: int
    state: JobState
    processed: int = 0
    detail: str | None = None
    refreshed: int = 0
    duplicates: int = 0
