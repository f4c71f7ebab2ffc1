"""From a source's items to pending images in tasks, in one transaction per call."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import BindParameter, Connection, Row, Select, bindparam, insert, select, update

from sightline.errors import ConflictError, NotFoundError
from sightline.store.records import EMBED, Job, Outcome, TaskKind
from sightline.store.schema import CollectionRow, ImageRow
from sightline.store.schema_work import JobRow, TaskRow
from sightline.store.sql.fields import rewrite_values
from sightline.store.sql.given import follow, follow_tasks, known_texts
from sightline.store.sql.holders import (
    Holders,
    Rows,
    address_after,
    holders,
    is_known_broken,
    is_taken,
    met_elsewhere,
    release_refused,
)
from sightline.store.sql.releasing import discard
from sightline.store.sql.rows import (
    IMAGES,
    JOBS,
    bump_version,
    chunks,
    is_in,
    job_record,
    lock_collection,
    next_version,
    update_many,
)
from sightline.store.sql.seen import Seen, mark_seen
from sightline.store.sql.sources import source_ids
from sightline.store.sql.turns import take_turns
from sightline.store.values import check_registration, plain_json, same_json
from sightline.store.work_records import Registered, Registration

SELECT_JOBS: Select[Any] = select(
    *(column for column in JOBS.c if column.name != "turn"), CollectionRow.name.label("collection")
).join(CollectionRow, (CollectionRow.id == JOBS.c.collection_id) & CollectionRow.trashed_at.is_(None))
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

    Of several items with one id the last counts. Older pending and failed rows of an id are discarded; where
    the id is taken by another source's picture, nothing is done; nor where an earlier job could not decode
    the same bytes (outcome ``broken``). Unchanged bytes get the item's address.
    Raises ConflictError when the job is sealed or cancelled, InputError for what SQL cannot store.
    """
    for item in items:
        check_registration(item)
    job = open_job(connection, job_id)
    latest = {item.image_id: item for item in items}
    sources = source_ids(connection, now, job.collection_id, (item.source for item in items))
    held = holders(connection, job.collection_id, latest)
    taken = {name: held.of(name) for name, item in latest.items() if is_taken(item, held.of(name))}
    before = mark_seen(connection, job_id, {name: _source_of(latest[name], sources) for name in latest})
    release_refused(connection, now, [latest[name] for name in taken])
    owned = {name: item for name, item in latest.items() if name not in taken}
    known = _already(job, owned, held, sources, before)
    fresh = [item for name, item in owned.items() if name not in known]
    said = known_texts(connection, job.collection_id, [item.sha256 for item in fresh])

    replaced = [name for name in owned if known.get(name) not in ("pending", "broken")]
    _supersede(connection, now, job.collection_id, replaced, held.pending)
    unchanged = [owned[name] for name, state in known.items() if state == "live"]
    refreshed = _update_in_place(connection, now, job.collection_id, unchanged, held.live, sources, before)
    kept = [name for name, state in known.items() if state != "broken"]
    counted = [name for name in kept if _source_of(owned[name], sources) not in before.get(name, ())]
    _count(connection, now, job_id, unchanged=len(counted), refreshed=refreshed)
    batches = list(chunks(fresh, batch_size))
    tasks = insert_tasks(connection, now, job, len(batches))
    rows = [
        {
            **_inherit(item, held.remembered(item.image_id), sources),
            **_pending_row(now, job, task_id, item, held.live.get(item.image_id)),
        }
        for task_id, batch in zip(tasks, batches, strict=True)
        for item in batch
    ]
    update_many(connection, insert(IMAGES), rows)
    follow_tasks(connection, now, tasks, said)
    outcomes = [(item.image_id, _outcome(item.image_id, taken, known)) for item in items]
    owners = {name: None if row is None else row.source for name, row in taken.items()}
    return Registered(len(kept), tasks, outcomes, owners)


def _outcome(image_id: str, taken: Container[str], known: Mapping[str, str]) -> Outcome:
    if image_id in taken:
        return "id_taken"
    if known.get(image_id) == "broken":
        return "broken"
    return "unchanged" if image_id in known else "pending"


def _already(
    job: Job, owned: Mapping[str, Registration], held: Holders, sources: Mapping[str, int], before: Seen
) -> dict[str, Literal["live", "pending", "broken"]]:
    """The items whose bytes have their id already: the state of the version that stays."""
    known: dict[str, Literal["live", "pending", "broken"]] = {}
    for name, item in owned.items():
        live, pending = held.live.get(name), held.pending.get(name)
        if live is not None and live.sha256 == item.sha256:
            known[name] = "live"
        elif is_known_broken(item, held, job.id):
            known[name] = "broken"
        elif pending is None or (pending.sha256, pending.job_id) != (item.sha256, job.id):
            continue
        elif met_elsewhere(pending, _source_of(item, sources) or pending.source_id, before):
            known[name] = "pending"
    return known


def _source_of(item: Registration, sources: Mapping[str, int]) -> int:
    return 0 if item.source is None else sources[item.source]


def _count(connection: Connection, now: float, job_id: str, *, unchanged: int, refreshed: int) -> None:
    values = {
        "unchanged": JobRow.unchanged + unchanged,
        "refreshed": JobRow.refreshed + refreshed,
        "updated_at": now,
    }
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))


def _supersede(
    connection: Connection, now: float, collection_id: int, image_ids: Sequence[str], pending: Container[str]
) -> None:
    """``pending``: the ids that have a pending version. Each statement finds its partial index."""
    waiting = [name for name in image_ids if name in pending]
    for state, names in (("pending", waiting), ("failed", image_ids)):
        for chunk in chunks(names):
            named = (ImageRow.collection_id == collection_id, ImageRow.image_id.in_(_ids(chunk)))
            discard(connection, now, [*named, is_in(state)])


def _ids(chunk: Sequence[str]) -> BindParameter[Any]:
    """One parameter for all: SQLAlchemy looks at each that stands for itself."""
    return bindparam("ids", list(chunk), expanding=True, unique=True)


def _update_in_place(
    connection: Connection,
    now: float,
    collection_id: int,
    unchanged: Sequence[Registration],
    live: Rows,
    sources: Mapping[str, int],
    before: Seen,
) -> int:
    """Caption, metadata, source and address of unchanged bytes, where they are given and differ.

    Returns how many were met at another address than before.
    """
    changes, refreshed = [], 0
    for item in unchanged:
        row = live[item.image_id]
        there = met_elsewhere(row, _source_of(item, sources) or row.source_id, before)
        uri, ours = address_after(item, row, there)
        new = {**_inherit(item, row, sources), "uri": uri}
        new["source_id"] = new["source_id"] if ours else row.source_id
        refreshed += uri != row.uri or row.source_id not in (None, new["source_id"])
        names = ("caption", "source_id", "uri")
        same = all(new[name] == getattr(row, name) for name in names)
        if not same or not same_json(new["metadata"], row.metadata):
            changes.append({"the_key": row.key, **{f"the_{name}": value for name, value in new.items()}})
    statement = update(IMAGES).where(IMAGES.c.key == bindparam("the_key"))
    columns = ("caption", "metadata", "source_id", "uri")
    if changes:
        values: dict[str, Any] = {name: bindparam(f"the_{name}") for name in columns}
        version = next_version(connection, collection_id)
        update_many(connection, statement.values(**values, changed=version), changes)
        keys = [change["the_key"] for change in changes]
        follow(connection, now, keys)
        rewrite_values(connection, collection_id, keys)
        bump_version(connection, collection_id)
    return refreshed


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
    rows = [values | {"turn": turn} for turn in take_turns(connection, job.id, kind, count)]
    return sorted(connection.scalars(insert(TaskRow).returning(TaskRow.id), rows))


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


def note_duplicates(connection: Connection, now: float, job_id: str, found: int) -> None:
    """So many items of the job's sources were named before, in all. ConflictError, as for ``register``.

    No sum: a listing that is begun anew counts anew.
    """
    open_job(connection, job_id)
    values = {"duplicates": found, "updated_at": now}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
