"""Jobs over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field

from sightline.api.discretion import IN_THE_LOG, shown, shown_name
from sightline.api.schemas.common import Answer, Moment, Request, Text
from sightline.api.urls import job_url
from sightline.store.records import Job, JobKind, JobState
from sightline.store.work_records import ErrorPage, ItemError, JobReport

ImagePart = Annotated[Text, Field(max_length=1024)]


class NewJob(Request):
    """Index sources that the *server* can read, below its configured roots."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"sources": ["/srv/pictures/2026"], "copy": False, "prune": False}]}
    )

    sources: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=4096)]],
        Field(min_length=1, max_length=100, fail_fast=True),
    ]
    copy_originals: bool = Field(
        False, alias="copy", description="Copy originals instead of referring to them."
    )
    prune: bool = Field(False, description="Move to the trash what each of these sources no longer has.")
    prune_limit: Annotated[int, Field(ge=0)] | Annotated[str, Field(max_length=20)] | None = Field(
        None,
        description="How much of a source may be pruned: pictures, or a share like '50%'; 20 % and 100 "
        "pictures, whichever is less, when not given.",
    )
    id_prefix: ImagePart = Field("", description="Stands before every id of these sources.")
    moved_from: Annotated[Text, Field(min_length=1, max_length=4096)] | None = Field(
        None, description="The one source is what was indexed from this address before."
    )

    def limit(self) -> str | None:
        """As the indexer reads it."""
        return None if self.prune_limit is None else str(self.prune_limit)


class ProgressAnswer(Answer):
    """Counts of one job. ``indexed`` (new ids) and ``replaced`` are disjoint."""

    indexed: int
    unchanged: int
    replaced: int
    deleted: int
    failed: int
    pending: int
    total: int
    refreshed: int = Field(0, description="Of the unchanged, those met at another address than before.")
    duplicates: int = Field(0, description="What a source named once more.")
    processed: int = Field(0, description="Images that a job which captions or filters is done with.")


class ErrorLine(Answer):
    """Why one image failed: a short reason code and a sentence."""

    id: str
    reason: str
    detail: str


class ErrorList(Answer):
    """One page of failures; ``total``: how many there are in all."""

    items: list[ErrorLine]
    next_cursor: str | None = Field(description="Ask for the next page with it; null on the last one.")
    total: int


class JobAnswer(Answer):
    """A job and how far it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "1f0c6a52-0f5e-4e0c-9d4b-0c8d4f1f8a11",
                    "collection": "holidays",
                    "kind": "upload",
                    "state": "running",
                    "detail": None,
                    "progress": {
                        "indexed": 12,
                        "unchanged": 1,
                        "replaced": 0,
                        "deleted": 0,
                        "failed": 1,
                        "pending": 18,
                        "total": 32,
                        "refreshed": 0,
                        "duplicates": 0,
                        "processed": 0,
                    },
                    "skipped": {"video": 4, "text": 1},
                    "known_broken": 0,
                    "errors": [{"id": "cut.jpg", "reason": "truncated", "detail": "…"}],
                    "errors_url": "/v1/jobs/1f0c6a52-0f5e-4e0c-9d4b-0c8d4f1f8a11/errors",
                    "url": "/v1/jobs/1f0c6a52-0f5e-4e0c-9d4b-0c8d4f1f8a11",
                    "events_url": "/v1/jobs/1f0c6a52-0f5e-4e0c-9d4b-0c8d4f1f8a11/events",
                    "created_at": "2026-11-23T22:40:00Z",
                    "updated_at": "2026-11-23T22:40:03Z",
                }
            ]
        }
    )

    id: str
    collection: str
    kind: JobKind
    state: JobState
    detail: str | None = Field(
        None, description="Why it failed, or what its workers run into while it goes on; else null."
    )
    progress: ProgressAnswer
    skipped: dict[str, int] = Field(
        default_factory=dict, description="Files of its sources that are no pictures, by kind."
    )
    known_broken: int = Field(
        0, description="Files that could not be decoded before and have not changed; not tried again."
    )
    errors: list[ErrorLine] = Field(
        description="The first 100 failures (none in a list of jobs); progress.failed counts them all."
    )
    errors_url: str = Field(description="All failures, page by page.")
    url: str
    events_url: str
    created_at: Moment
    updated_at: Moment


class JobList(Answer):
    """The newest jobs first."""

    items: list[JobAnswer]


def job_answer(report: JobReport, root: str = "") -> JobAnswer:
    """A job with its counts and failures, as its caller is shown them."""
    job, progress = report.job, report.progress
    url, hidden = job_url(job.id, root), not shown.get().details
    return JobAnswer.of(
        job,
        detail=IN_THE_LOG if hidden and progress.detail else progress.detail,
        progress=progress,
        errors=_told(job, report.errors),
        url=url,
        errors_url=f"{url}/errors",
        events_url=f"{url}/events",
    )


def error_list(job: Job, page: ErrorPage) -> ErrorList:
    """One page of a job's failures, as its caller is shown them."""
    return ErrorList.of(page, items=_told(job, page.items))


def _told(job: Job, errors: Sequence[ItemError]) -> list[ErrorLine]:
    """Failures as their caller is shown them: those at the server's own sources without where these lie."""
    if shown.get().details or job.kind == "upload":
        return [ErrorLine.of(one) for one in errors]
    return [ErrorLine(id=shown_name(one.id), reason=one.reason, detail=IN_THE_LOG) for one in errors]
