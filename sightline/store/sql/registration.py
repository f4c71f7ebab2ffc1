"""From a source's items to pending images in tasks, in one transaction per call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, insert, select, update

from sightline.errors import ConflictError, NotFoundError
from sightline.store.records import Job, Outcome, Registered, Registration
from sightline.store.schema import CollectionRow, ImageRow, JobRow, JobSeenRow, TaskRow
from sightline.store.sql.rows import (
    IMAGES,
    JOBS,
    bump_version,
    chunks,
    job_record,
    lock_collection,
    update_many,
)
from sightline.store.values import check_image_id, check_registration, plain_json, printable, same_json

LiveRows = dict[str, Row[Any]]
"""image id → (image_id, key, sha256, caption, metadata) of its live version."""


def find_job(connection: Connection, job_id: str, lock: bool = False) -> Job:
    """The job with its collection's name. ``lock`` takes the collection's row first, then the job's."""
    if lock:
        owner = select(JobRow.collection_id).where(JobRow.id == job_id)
        collection_id = connection.scalar(owner)
        if collection_id is not None:
            lock_collection(connection, collection_id)
    query = (
        select(JOBS, CollectionRow.name.label("collection")).join(CollectionRow).where(JobRow.id == job_id)
    )
    if lock:
        query = query.with_for_update(of=JobRow, key_share=True)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no job {job_id!r}")
    return job_record(row)


def open_job(connection: Connection, job_id: str) -> Job:
    """The locked job, which still takes images; else ConflictError."""
    job = find_job(connection, job_id, lock=True)
    if job.state != "registering":
        how = "was cancelled" if job.state == "cancelled" else f"is {job.state}"
        raise ConflictError(f"Job {job_id} {how}: it takes no more images")
    return job


def register(
    connection: Connection, now: float, job_id: str, items: Sequence[Registration], batch_size: int
) -> Registered:
    """Of several items with one id the last counts. Older pending and failed rows of an id are discarded."""
    for item in items:
        check_registration(item)
    job = open_job(connection, job_id)
    latest = {item.image_id: item for item in items}
    live = _live_rows(connection, job.collection_id, latest)
    unchanged = [item for name, item in latest.items() if name in live and live[name].sha256 == item.sha256]
    same = {item.image_id for item in unchanged}
    fresh = [item for name, item in latest.items() if name not in same]

    _supersede(connection, job.collection_id, latest)
    newly_unchanged = same - mark_seen(connection, job_id, latest)
    _update_in_place(connection, job.collection_id, unchanged, live)
    tasks = _insert_pending(connection, now, job, fresh, live, batch_size)
    counted = {"unchanged": JobRow.unchanged + len(newly_unchanged), "updated_at": now}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(counted))
    outcomes: list[tuple[str, Outcome]] = [
        (item.image_id, "unchanged" if item.image_id in same else "pending") for item in items
    ]
    return Registered(len(unchanged), tasks, outcomes)


def _live_rows(connection: Connection, collection_id: int, image_ids: Iterable[str]) -> LiveRows:
    query = select(
        ImageRow.image_id, ImageRow.key, ImageRow.sha256, ImageRow.caption, ImageRow.meta.label("metadata")
    )
    found: LiveRows = {}
    for chunk in chunks(image_ids):
        where = (
            ImageRow.collection_id == collection_id,
            ImageRow.state == "live",
            ImageRow.image_id.in_(chunk),
        )
        found.update((row.image_id, row) for row in connection.execute(query.where(*where)))
    return found


def _supersede(connection: Connection, collection_id: int, image_ids: Iterable[str]) -> None:
    """Two statements, so that each finds its partial index."""
    for chunk in chunks(image_ids):
        for state in ("pending", "failed"):
            statement = update(ImageRow).where(
                ImageRow.collection_id == collection_id, ImageRow.state == state, ImageRow.image_id.in_(chunk)
            )
            connection.execute(statement.values(state="discarded"))


def mark_seen(connection: Connection, job_id: str, image_ids: Iterable[str]) -> set[str]:
    """Remembers the ids for ``prune``; returns those that this job had seen before."""
    wanted = list(image_ids)
    before: set[str] = set()
    for chunk in chunks(wanted):
        query = select(JobSeenRow.image_id).where(JobSeenRow.job_id == job_id, JobSeenRow.image_id.in_(chunk))
        before.update(connection.scalars(query))
    new = [{"job_id": job_id, "image_id": name} for name in wanted if name not in before]
    update_many(connection, insert(JobSeenRow), new)
    return before


def _update_in_place(
    connection: Connection, collection_id: int, unchanged: Sequence[Registration], live: LiveRows
) -> None:
    """Caption and metadata of unchanged bytes, where they are given and differ."""
    changes = []
    for item in unchanged:
        row = live[item.image_id]
        caption, metadata = _inherit(item, row)
        if caption != row.caption or not same_json(metadata, row.metadata):
            changes.append({"the_key": row.key, "the_caption": caption, "the_metadata": metadata})
    statement = update(IMAGES).where(IMAGES.c.key == bindparam("the_key"))
    values: dict[str, Any] = {"caption": bindparam("the_caption"), "metadata": bindparam("the_metadata")}
    update_many(connection, statement.values(values), changes)
    if changes:
        bump_version(connection, collection_id)


def _inherit(item: Registration, row: Row[Any] | None) -> tuple[str | None, dict[str, Any]]:
    """(caption, metadata): what is not given stays as it was."""
    caption, metadata = item.caption, plain_json(item.metadata)
    if row is None:
        return caption, metadata
    return (row.caption if caption is None else caption), (metadata or row.metadata)


def _insert_pending(
    connection: Connection,
    now: float,
    job: Job,
    fresh: Sequence[Registration],
    live: LiveRows,
    batch_size: int,
) -> list[int]:
    batches = list(chunks(fresh, batch_size))
    tasks = insert_tasks(connection, now, job, len(batches))
    rows = [
        _pending_row(now, job, task_id, item, live.get(item.image_id))
        for task_id, batch in zip(tasks, batches, strict=True)
        for item in batch
    ]
    update_many(connection, insert(IMAGES), rows)
    return tasks


def insert_tasks(connection: Connection, now: float, job: Job, count: int) -> list[int]:
    """Their ids, ascending."""
    values = {
        "job_id": job.id,
        "collection_id": job.collection_id,
        "state": "ready",
        "attempt": 0,
        "created_at": now,
    }
    if not count:
        return []
    return sorted(connection.scalars(insert(TaskRow).returning(TaskRow.id), [values] * count))


def _pending_row(
    now: float, job: Job, task_id: int, item: Registration, live: Row[Any] | None
) -> dict[str, Any]:
    caption, metadata = _inherit(item, live)
    return {
        "collection_id": job.collection_id,
        "image_id": item.image_id,
        "sha256": item.sha256,
        "uri": item.uri,
        "caption": caption,
        "metadata": metadata,
        "bytes": item.bytes,
        "state": "pending",
        "job_id": job.id,
        "task_id": task_id,
        "replaces_key": live.key if live is not None else None,
        "created_at": now,
    }


def record_failure(
    connection: Connection, now: float, job_id: str, failure: tuple[str, str, str, str]
) -> None:
    """(image id, uri, reason, detail). A live version goes on serving; a pending one of another job stays."""
    image_id, uri, reason, detail = failure
    image_id = printable(image_id)
    check_image_id(image_id)
    job = open_job(connection, job_id)
    older = update(ImageRow).where(
        ImageRow.collection_id == job.collection_id, ImageRow.state == "failed", ImageRow.image_id == image_id
    )
    connection.execute(older.values(state="discarded"))
    mark_seen(connection, job_id, [image_id])
    row = {
        "collection_id": job.collection_id,
        "image_id": image_id,
        "sha256": "",
        "uri": printable(uri),
        "metadata": {},
        "bytes": 0,
        "state": "failed",
        "job_id": job_id,
        "reason": printable(reason),
        "detail": printable(detail),
        "created_at": now,
    }
    connection.execute(insert(IMAGES).values(row))


def prune(connection: Connection, now: float, job_id: str) -> int:
    """Buries the live images whose id this job has not met. What another job has pending stays."""
    job = open_job(connection, job_id)
    seen = exists().where(JobSeenRow.job_id == job_id, JobSeenRow.image_id == ImageRow.image_id)
    statement = update(ImageRow).where(
        ImageRow.collection_id == job.collection_id, ImageRow.state == "live", ~seen
    )
    buried = connection.execute(statement.values(state="buried", buried_at=now)).rowcount
    values = {"deleted": JobRow.deleted + buried, "updated_at": now}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
    if buried:
        bump_version(connection, job.collection_id)
    return buried


def forget_seen(connection: Connection, job_id: str) -> None:
    connection.execute(delete(JobSeenRow).where(JobSeenRow.job_id == job_id))
