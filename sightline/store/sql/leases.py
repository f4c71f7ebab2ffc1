"""Leases: one conditional update of one task row each, so that every task has at most one valid owner."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from sightline.errors import NotFoundError
from sightline.store.records import EMBED, Lease, Task, TaskKind
from sightline.store.schema import ImageRow, TaskRow
from sightline.store.sql.items import waiting
from sightline.store.sql.rows import (
    COLLECTIONS,
    SELECT_COLLECTIONS,
    SELECT_IMAGES,
    TASKS,
    chunks,
    collection_record,
    image_record,
    task_record,
)


def acquire(
    connection: Connection,
    now: float,
    task_id: int,
    owner: str,
    seconds: float,
    kinds: Collection[TaskKind] = (EMBED,),
) -> Lease | None:
    """Takes a ready task, or one whose lease has run out; None when it is taken, finished, gone, or of a kind
    that is not among ``kinds``: those that the caller can do.
    """
    free = or_(TaskRow.state == "ready", and_(TaskRow.state == "leased", TaskRow.lease_expires_at <= now))
    statement = (
        update(TaskRow)
        .where(TaskRow.id == task_id, TaskRow.kind.in_(kinds), free)
        .values(state="leased", owner=owner, attempt=TaskRow.attempt + 1, lease_expires_at=now + seconds)
        .returning(TaskRow.attempt, TaskRow.collection_id, TaskRow.kind)
    )
    taken = connection.execute(statement).one_or_none()
    if taken is None:
        return None
    collection = connection.execute(SELECT_COLLECTIONS.where(COLLECTIONS.c.id == taken.collection_id)).one()
    mine = (ImageRow.task_id == task_id, ImageRow.state == "pending")
    query = SELECT_IMAGES.where(*mine) if taken.kind == EMBED else waiting(task_id)
    images = [image_record(row) for row in connection.execute(query.order_by(ImageRow.key)).all()]
    found = collection_record(collection)
    return Lease(task_id, owner, taken.attempt, now + seconds, found, images, taken.kind)


def held(lease: Lease, now: float) -> ColumnElement[bool]:
    """The condition under which this lease is still the valid one of its task."""
    return and_(
        TaskRow.id == lease.task_id,
        TaskRow.state == "leased",
        TaskRow.owner == lease.owner,
        TaskRow.attempt == lease.attempt,
        TaskRow.lease_expires_at > now,
    )


def renew(connection: Connection, now: float, lease: Lease, seconds: float) -> bool:
    """A lease that has run out is lost, even when nobody else has taken the task yet."""
    statement = update(TaskRow).where(held(lease, now)).values(lease_expires_at=now + seconds)
    return connection.execute(statement).rowcount == 1


def release(connection: Connection, now: float, lease: Lease) -> None:
    """Back to ready, to be sent again; nothing when the lease was lost."""
    back = {"state": "ready", "owner": None, "lease_expires_at": None, "sent_at": None}
    connection.execute(update(TaskRow).where(held(lease, now)).values(back))


def hand_back(connection: Connection, now: float, lease: Lease) -> None:
    """As ``release``, and the attempt does not count: it says nothing about the images."""
    connection.execute(update(TaskRow).where(held(lease, now)).values(attempt=TaskRow.attempt - 1))
    release(connection, now, replace(lease, attempt=lease.attempt - 1))


def expire(connection: Connection, now: float) -> list[int]:
    """Makes tasks ready whose lease has run out; rows that are being changed are left to the next sweep."""
    query = (
        select(TaskRow.id)
        .where(TaskRow.state == "leased", TaskRow.lease_expires_at <= now)
        .order_by(TaskRow.id)
        .with_for_update(skip_locked=True)
    )
    expired = list(connection.scalars(query))
    back = {"state": "ready", "owner": None, "lease_expires_at": None, "sent_at": None}
    for chunk in chunks(expired):
        connection.execute(update(TaskRow).where(TaskRow.id.in_(chunk)).values(back))
    return expired


def mark_sent(connection: Connection, now: float, task_ids: Sequence[int]) -> None:
    """A queue has taken messages about these tasks."""
    for chunk in chunks(sorted(set(task_ids))):
        ready = update(TaskRow).where(TaskRow.id.in_(chunk), TaskRow.state == "ready")
        connection.execute(ready.values(sent_at=now))


def unsent(connection: Connection, now: float, older_than: float, limit: int) -> list[int]:
    """Ready tasks never sent, or last sent at least ``older_than`` seconds ago (0: all ready tasks)."""
    query = (
        select(TaskRow.id)
        .where(TaskRow.state == "ready", or_(TaskRow.sent_at.is_(None), TaskRow.sent_at <= now - older_than))
        .order_by(TaskRow.id)
        .limit(limit)
    )
    return list(connection.scalars(query))


def find_task(connection: Connection, task_id: int) -> Task:
    """The task with this number; NotFoundError."""
    row = connection.execute(select(TASKS).where(TaskRow.id == task_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no task {task_id}.")
    return task_record(row)
