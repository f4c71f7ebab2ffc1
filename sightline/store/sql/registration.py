"""From a source's items to pending images in tasks, in one transaction per call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from sightline.errors import ConflictError, NotFoundError
from sightline.store.records import EMBED, LOST, Job, Outcome, Registered, Registration, TaskKind
from sightline.store.schema import CollectionRow, ImageRow, JobRow, JobSeenRow, TaskRow
from sightline.store.sql.releasing import discard, to_trash
from sightline.store.sql.rows import (
    IMAGES,
    JOBS,
    SOURCES,
    bump_version,
    chunks,
    job_record,
    lock_collection,
    update_many,
)
from sightline.store.values import check_image_id, check_registration, plain_json, printable, same_json

LiveRows = dict[str, Row[Any]]
"""image id → (image_id, key, sha256, caption, metadata, source_id) of its live version."""


SELECT_JOBS: Select[Any] = select(JOBS, CollectionRow.name.label("collection")).join(
    CollectionRow, (CollectionRow.id == JOBS.c.collection_id) & CollectionRow.trashed_at.is_(None)
)
"""Those of collections in the trash wait there with them."""


def find_job(connection: Connection, job_id: str) -> Job:
    """The job; NotFoundError."""
    return _job(connection, job_id, SELECT_JOBS)


def locked_job(connection: Connection, job_id: str) -> Job:
    """The job, for the rest of the transaction nobody else's: the collection's row first, then the job's."""
    collection_id = connection.scalar(select(JobRow.collection_id).where(JobRow.id == job_id))
    if collection_id is not None:
        lock_collection(connection, collection_id)
    return _job(connection, job_id, SELECT_JOBS.with_for_update(of=JobRow, key_share=True))


def _job(connection: Connection, job_id: str, query: Select[Any]) -> Job:
    row = connection.execute(query.where(JobRow.id == job_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no job {job_id!r}.")
    return job_record(row)


def open_job(connection: Connection, job_id: str) -> Job:
    """The locked job, which still takes images; else ConflictError."""
    job = locked_job(connection, job_id)
    if job.state != "registering":
        how = "was cancelled" if job.state == "cancelled" else f"is {job.state}"
        raise ConflictError(f"Job {job_id} {how}: it takes no more images.")
    return job


def register(
    connection: Connection, now: float, job_id: str, items: Sequence[Registration], *, batch_size: int
) -> Registered:
    """New and changed images become pending, in tasks of at most ``batch_size``.

    Of several items with one id the last counts. Older pending and failed rows of an id are discarded.
    Raises ConflictError when the job is sealed or cancelled, InputError for what SQL cannot store.
    """
    for item in items:
        check_registration(item)
    job = open_job(connection, job_id)
    latest = {item.image_id: item for item in items}
    live = _live_rows(connection, job.collection_id, latest)
    unchanged = [item for name, item in latest.items() if name in live and live[name].sha256 == item.sha256]
    same = {item.image_id for item in unchanged}
    fresh = [item for name, item in latest.items() if name not in same]

    sources = _source_ids(connection, now, job.collection_id, items)
    known = _lost_rows(connection, job.collection_id, latest) | live
    _supersede(connection, now, job.collection_id, latest)
    newly_unchanged = same - mark_seen(connection, job_id, latest)
    _update_in_place(connection, job.collection_id, unchanged, live, sources)
    batches = list(chunks(fresh, batch_size))
    tasks = insert_tasks(connection, now, job, len(batches))
    rows = [
        {
            **_inherit(item, known.get(item.image_id), sources),
            **_pending_row(now, job, task_id, item, live.get(item.image_id)),
        }
        for task_id, batch in zip(tasks, batches, strict=True)
        for item in batch
    ]
    update_many(connection, insert(IMAGES), rows)
    counted = {"unchanged": JobRow.unchanged + len(newly_unchanged), "updated_at": now}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(counted))
    outcomes: list[tuple[str, Outcome]] = [
        (item.image_id, "unchanged" if item.image_id in same else "pending") for item in items
    ]
    return Registered(len(unchanged), tasks, outcomes)


def _live_rows(connection: Connection, collection_id: int, image_ids: Iterable[str]) -> LiveRows:
    return _known_rows(connection, collection_id, image_ids, ImageRow.state == "live")


def _lost_rows(connection: Connection, collection_id: int, image_ids: Iterable[str]) -> LiveRows:
    """Images that a repair could not make again, whose caption and metadata wait for them to come back."""
    lost = and_(ImageRow.state == "failed", ImageRow.reason == LOST)
    return _known_rows(connection, collection_id, image_ids, lost)


def _known_rows(
    connection: Connection, collection_id: int, image_ids: Iterable[str], which: ColumnElement[bool]
) -> LiveRows:
    columns = (ImageRow.image_id, ImageRow.key, ImageRow.sha256, ImageRow.caption, ImageRow.source_id)
    query = select(*columns, ImageRow.meta.label("metadata"))
    found: LiveRows = {}
    for chunk in chunks(image_ids):
        where = (ImageRow.collection_id == collection_id, which, ImageRow.image_id.in_(chunk))
        found.update((row.image_id, row) for row in connection.execute(query.where(*where)))
    return found


def _source_ids(
    connection: Connection, now: float, collection_id: int, items: Sequence[Registration]
) -> dict[str, int]:
    """address → id of every source that the items name; new ones are written down."""
    addresses = sorted({item.source for item in items if item.source is not None})
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = [{"collection_id": collection_id, "address": name, "created_at": now} for name in addresses]
    update_many(connection, upsert(SOURCES).on_conflict_do_nothing(), new)
    found: dict[str, int] = {}
    for chunk in chunks(addresses):
        where = (SOURCES.c.collection_id == collection_id, SOURCES.c.address.in_(chunk))
        query = select(SOURCES.c.address, SOURCES.c.id).where(*where)
        found.update((address, number) for address, number in connection.execute(query))
    return found


def _supersede(connection: Connection, now: float, collection_id: int, image_ids: Iterable[str]) -> None:
    """Two statements, so that each finds its partial index."""
    for chunk in chunks(image_ids):
        for state in ("pending", "failed"):
            named = (ImageRow.collection_id == collection_id, ImageRow.image_id.in_(chunk))
            discard(connection, now, [*named, ImageRow.state == state])


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
    connection: Connection,
    collection_id: int,
    unchanged: Sequence[Registration],
    live: LiveRows,
    sources: Mapping[str, int],
) -> None:
    """Caption, metadata and source of unchanged bytes, where they are given and differ."""
    changes = []
    for item in unchanged:
        row = live[item.image_id]
        new = _inherit(item, row, sources)
        same = (new["caption"], new["source_id"]) == (row.caption, row.source_id)
        if not same or not same_json(new["metadata"], row.metadata):
            changes.append({"the_key": row.key, **{f"the_{name}": value for name, value in new.items()}})
    statement = update(IMAGES).where(IMAGES.c.key == bindparam("the_key"))
    values: dict[str, Any] = {
        "caption": bindparam("the_caption"),
        "metadata": bindparam("the_metadata"),
        "source_id": bindparam("the_source_id"),
    }
    update_many(connection, statement.values(values), changes)
    if changes:
        bump_version(connection, collection_id)


def _inherit(item: Registration, row: Row[Any] | None, sources: Mapping[str, int]) -> dict[str, Any]:
    """Caption, metadata and source: what is not given stays as it was."""
    caption, metadata = item.caption, plain_json(item.metadata)
    source_id = None if item.source is None else sources[item.source]
    if row is not None:
        caption = row.caption if caption is None else caption
        source_id = row.source_id if source_id is None else source_id
        metadata = metadata or row.metadata
    return {"caption": caption, "metadata": metadata, "source_id": source_id}


def insert_tasks(
    connection: Connection, now: float, job: Job, count: int, kind: TaskKind = EMBED
) -> list[int]:
    """Their ids, ascending."""
    values = {
        "kind": kind,
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
    now: float,
    job: Job,
    task_id: int,
    item: Registration,
    live: Row[Any] | None,
) -> dict[str, Any]:
    return {
        "collection_id": job.collection_id,
        "image_id": item.image_id,
        "sha256": item.sha256,
        "uri": item.uri,
        "bytes": item.bytes,
        "state": "pending",
        "job_id": job.id,
        "task_id": task_id,
        "replaces_key": live.key if live is not None else None,
        "created_at": now,
    }


def record_failure(
    connection: Connection, now: float, job_id: str, image_id: str, uri: str, reason: str, detail: str
) -> None:
    """One failure line of a job. A live version goes on serving; a pending one of another job stays."""
    image_id = printable(image_id)
    check_image_id(image_id)
    job = open_job(connection, job_id)
    named = (ImageRow.collection_id == job.collection_id, ImageRow.image_id == image_id)
    discard(connection, now, [*named, ImageRow.state == "failed"])
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
    """Moves the live images whose id this job has not met to the trash; how many.

    What another job has pending stays. Only before the job is sealed (else ConflictError).
    """
    job = open_job(connection, job_id)
    seen = exists().where(JobSeenRow.job_id == job_id, JobSeenRow.image_id == ImageRow.image_id)
    gone = len(to_trash(connection, now, [ImageRow.collection_id == job.collection_id, ~seen]))
    values = {"deleted": JobRow.deleted + gone, "updated_at": now}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
    if gone:
        bump_version(connection, job.collection_id)
    return gone


def forget_seen(connection: Connection, job_id: str) -> None:
    connection.execute(delete(JobSeenRow).where(JobSeenRow.job_id == job_id))
