"""Jobs: their life, their counts, their end."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    case,
    exists,
    func,
    insert,
    null,
    select,
    update,
)

from sightline.errors import ConflictError
from sightline.store.records import LISTING, Job, JobKind
from sightline.store.schema import ImageRow
from sightline.store.schema_work import JobRow, TaskRow
from sightline.store.sql import items
from sightline.store.sql.registration import SELECT_JOBS, find_job, insert_tasks, locked_job
from sightline.store.sql.releasing import discard
from sightline.store.sql.rows import (
    COLLECTIONS,
    IMAGES,
    JOBS,
    LIVING,
    chunks,
    collection_named,
    job_record,
    require_collection,
    update_many,
)
from sightline.store.sql.seen import forget_seen
from sightline.store.sql.singletons import forget
from sightline.store.values import check_kind, check_metadata, plain_json, printable
from sightline.store.work_records import Progress

LISTING_ENDED = (
    "The process that listed this job's sources ended before it was done. What it had found by then is "
    "indexed; start the same again for the rest: what is there already costs nothing."
)
"""Why a job that is broken has failed."""
OPEN = ("ready", "leased")
"""The states of a task that still owes an outcome."""


def create(
    connection: Connection, now: float, collection_id: int, kind: JobKind, request: Mapping[str, Any]
) -> Job:
    """A new job, to which images are registered or tasks added until it is sealed.

    ``kind``: ``index``, ``upload``, or that of its tasks.
    """
    check_kind(kind)
    check_metadata(request, "request of a job")
    require_collection(connection, collection_id)
    values = {
        "id": str(uuid.uuid4()),
        "collection_id": collection_id,
        "kind": kind,
        "state": "registering",
        "sealed": False,
        "request": plain_json(request),
        "created_at": now,
        "updated_at": now,
    }
    connection.execute(insert(JOBS).values(values))
    return find_job(connection, str(values["id"]))


def recent(
    connection: Connection,
    collection: str | None = None,
    limit: int = 50,
    among: Iterable[str] | None = None,
) -> list[Job]:
    """The newest first, of one collection or of all; ``among``: of collections with these names only."""
    query = SELECT_JOBS
    if among is not None:
        query = query.where(JobRow.collection_id.in_(LIVING.where(COLLECTIONS.c.name.in_(list(among)))))
    if collection is not None:
        query = query.where(JobRow.collection_id == collection_named(connection, collection).id)
    newest = query.order_by(JobRow.created_at.desc(), JobRow.id).limit(limit)
    return [job_record(row) for row in connection.execute(newest)]


def seal(connection: Connection, now: float, job_id: str) -> None:
    """All items are registered. Sealing again, or after a cancel, changes nothing."""
    job = locked_job(connection, job_id)
    forget_seen(connection, job_id)
    if job.state != "registering":
        return
    values = {"sealed": True, "state": "running", "updated_at": now}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
    finish_if_last(connection, now, job_id)


def note_trouble(connection: Connection, job_id: str, sentence: str) -> None:
    """What the workers of a job run into, for whoever waits for it; until one gets on, or the job ends.

    Nothing when the job has ended, or is gone.
    """
    goes_on = (JobRow.id == job_id, JobRow.state.in_(("registering", "running")))
    connection.execute(update(JobRow).where(*goes_on).values(detail=printable(sentence)))


def note_progress(connection: Connection, now: float, job_id: str) -> None:
    """A task of the job has ended: what its workers ran into is over, and so is a job with no other task.

    Callers hold the collection's row: none misses another.
    """
    noted = (JobRow.id == job_id, JobRow.detail.is_not(None))
    connection.execute(update(JobRow).where(*noted).values(detail=_why_broken()))
    finish_if_last(connection, now, job_id)


def finish_if_last(connection: Connection, now: float, job_id: str) -> None:
    """A sealed job without open tasks is done. Callers hold the collection's row: none misses another."""
    open_task = exists().where(TaskRow.job_id == job_id, TaskRow.state.in_(OPEN))
    statement = update(JobRow).where(
        JobRow.id == job_id, JobRow.sealed, JobRow.state == "running", ~open_task
    )
    ended = case((JobRow.broken, "failed"), else_="done")
    connection.execute(statement.values(state=ended, updated_at=now, detail=_why_broken()))


def _why_broken() -> ColumnElement[str | None]:
    return case((JobRow.broken, LISTING_ENDED), else_=null())


def cancel(connection: Connection, now: float, job_id: str) -> None:
    """Ends a job early: open tasks, leased or not, are cancelled and their pending images discarded.

    A worker that holds one of the leases learns it: its next renew, publish or finish returns False. A
    finished job stays as it is.
    """
    _stop(connection, now, job_id, "cancelled", None)


def fail(connection: Connection, now: float, job_id: str, detail: str | None = None) -> None:
    """As a cancel, but the job ends as ``failed``; ``detail`` says why: its source could not be listed."""
    _stop(connection, now, job_id, "failed", detail)


def _stop(
    connection: Connection,
    now: float,
    job_id: str,
    state: Literal["cancelled", "failed"],
    detail: str | None,
) -> None:
    job = locked_job(connection, job_id)
    if job.state not in ("registering", "running"):
        return
    tasks = update(TaskRow).where(TaskRow.job_id == job_id, TaskRow.state.in_(OPEN))
    connection.execute(tasks.values(state="cancelled", owner=None, lease_expires_at=None))
    discard(connection, now, [ImageRow.job_id == job_id, ImageRow.state == "pending"])
    items.drop_pending(connection, job_id)
    detail = None if detail is None else printable(detail)
    values = {"state": state, "sealed": True, "updated_at": now, "detail": detail}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
    forget_seen(connection, job_id)
    forget(connection, f"{LISTING}{job_id}")


def retry(connection: Connection, now: float, job_id: str, batch_size: int = 64) -> list[int]:
    """Failed images go into new tasks, whose ids are returned.

    Failures of the source (no SHA-256: its bytes were never read) cannot be retried here. Raises
    ConflictError when the job was cancelled or has failed.
    """
    job = locked_job(connection, job_id)
    if job.state in ("cancelled", "failed"):
        raise ConflictError(f"Job {job_id} was {job.state}: start it again instead.")
    batches = list(chunks(_retriable(connection, job_id), batch_size))
    tasks = insert_tasks(connection, now, job, len(batches))
    _reopen(connection, job.collection_id, list(zip(tasks, batches, strict=True)))
    tasks += items.retry(connection, now, job, batch_size)
    if tasks and job.sealed:
        running = {"state": "running", "updated_at": now}
        connection.execute(update(JobRow).where(JobRow.id == job_id).values(running))
    return tasks


def _retriable(connection: Connection, job_id: str) -> list[int]:
    """Keys whose bytes are known and whose id has no pending version."""
    other = IMAGES.alias("other")
    pending = exists().where(
        other.c.collection_id == IMAGES.c.collection_id,
        other.c.image_id == IMAGES.c.image_id,
        other.c.state == "pending",
    )
    failed = (ImageRow.job_id == job_id, ImageRow.state == "failed", ImageRow.sha256 != "")
    return list(connection.scalars(select(ImageRow.key).where(*failed, ~pending).order_by(ImageRow.key)))


def _reopen(connection: Connection, collection_id: int, batches: Sequence[tuple[int, list[int]]]) -> None:
    live = IMAGES.alias("live")
    current = (
        select(live.c.key)
        .where(
            live.c.collection_id == collection_id,
            live.c.image_id == IMAGES.c.image_id,
            live.c.state == "live",
        )
        .scalar_subquery()
    )
    statement = update(IMAGES).where(IMAGES.c.key == bindparam("the_key"))
    values: dict[str, Any] = {
        "state": "pending",
        "task_id": bindparam("the_task"),
        "replaces_key": current,
        "reason": None,
        "detail": None,
    }
    parameters = [{"the_key": key, "the_task": task} for task, batch in batches for key in batch]
    update_many(connection, statement.values(values), parameters)


def progress(connection: Connection, job_id: str) -> Progress:
    """How far a job is: one scan of an index for each of the two kinds of items."""
    job = find_job(connection, job_id)
    replaces = ImageRow.replaces_key.is_not(None)
    query = (
        select(ImageRow.state, replaces, func.count())
        .where(ImageRow.job_id == job_id)
        .group_by(ImageRow.state, replaces)
    )
    found: dict[tuple[str, bool], int] = {}
    for state, replacing, count in connection.execute(query):
        # Only what was live can be trashed or buried: these together are the published images.
        state = "published" if state in ("live", "trashed", "buried") else state
        key = (state, bool(replacing) and state == "published")
        found[key] = found.get(key, 0) + count
    indexed, replaced = found.get(("published", False), 0), found.get(("published", True), 0)
    failed, pending = found.get(("failed", False), 0), found.get(("pending", False), 0)
    others = items.counts(connection, job_id)
    processed = others.get("done", 0)
    failed, pending = failed + others.get("failed", 0), pending + others.get("pending", 0)
    total = indexed + replaced + failed + pending + job.unchanged + job.deleted + processed
    return Progress(
        indexed,
        job.unchanged,
        replaced,
        job.deleted,
        failed,
        pending,
        total,
        job.state,
        processed,
        job.detail,
        job.refreshed,
        job.duplicates,
    )
