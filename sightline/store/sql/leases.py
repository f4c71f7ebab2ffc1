"""Leases: one conditional update of one task row each, so that every task has at most one valid owner.

Time is the database's. Whoever holds a lease keeps it for as long as nobody else has taken the task; whether
another may take it is a question of time, and the answer must survive a clock that is set: see ``ran_out``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, and_, case, func, insert, or_, select, update

from sightline.errors import NotFoundError
from sightline.store.records import EMBED, Task, TaskKind
from sightline.store.schema import ImageRow
from sightline.store.schema_work import TaskRow
from sightline.store.sql.items import move_pending, waiting
from sightline.store.sql.rows import (
    COLLECTIONS,
    LIVING,
    SELECT_COLLECTIONS,
    SELECT_IMAGES,
    TASKS,
    chunks,
    collection_record,
    image_record,
    lock_collection,
    task_record,
)
from sightline.store.sql.turns import end_of_line, next_ready, served, take_turns
from sightline.store.work_records import Backlog, Lease

UNKNOWN_SECONDS = 3600.0
BACK = {"state": "ready", "owner": None, "lease_expires_at": None, "lease_seconds": None, "sent_at": None}
"""A task that is anybody's again, and to be sent again."""


def ran_out(
    expires_at: ColumnElement[float], seconds: ColumnElement[float], now: float
) -> ColumnElement[bool]:
    """Whether a lease has ended: its time has come, or it lies further ahead than any lease given now.

    The second is one that was given before the clock was put back. Twice its length, so that a clock that is
    corrected by a little takes no lease from anybody; putting it back by less prolongs the lease by that.
    Version 0.1 did not write down how long its leases are.
    """
    return or_(expires_at <= now, expires_at > now + 2 * func.coalesce(seconds, UNKNOWN_SECONDS))


def _ran_out(now: float) -> ColumnElement[bool]:
    ended = ran_out(TASKS.c.lease_expires_at, TASKS.c.lease_seconds, now)
    return and_(TaskRow.state == "leased", ended)


def acquire(
    connection: Connection,
    now: float,
    task_id: int,
    owner: str,
    seconds: float,
    kinds: Collection[TaskKind] = (EMBED,),
) -> Lease | None:
    """Takes a ready task, or one whose lease has run out; None when it is taken, finished, gone, of a kind
    that is not among ``kinds`` (those that the caller can do), or its collection is in the trash.
    """
    values = {
        "state": "leased",
        "owner": owner,
        "attempt": TaskRow.attempt + 1,
        "deaths": TaskRow.deaths + case((TaskRow.state == "leased", 1), else_=0),
        "lease_expires_at": now + seconds,
        "lease_seconds": seconds,
    }
    columns = (
        TaskRow.attempt, TaskRow.deaths, TaskRow.errors, TaskRow.collection_id, TaskRow.kind, TaskRow.job_id,
    )  # fmt: skip
    free = or_(TaskRow.state == "ready", _ran_out(now))
    mine = (TaskRow.id == task_id, TaskRow.kind.in_(kinds), free, TaskRow.collection_id.in_(LIVING))
    taken = connection.execute(update(TaskRow).where(*mine).values(values).returning(*columns)).one_or_none()
    if taken is None:
        return None
    collection = connection.execute(SELECT_COLLECTIONS.where(COLLECTIONS.c.id == taken.collection_id)).one()
    lease = Lease(
        task_id, owner, taken.attempt, now + seconds, collection_record(collection), [], taken.kind,
        taken.deaths, taken.errors, taken.job_id,
    )  # fmt: skip
    mine_to_embed = (ImageRow.task_id == task_id, ImageRow.state == "pending")
    query = SELECT_IMAGES.where(*mine_to_embed) if taken.kind == EMBED else waiting(task_id)
    images = [image_record(row) for row in connection.execute(query.order_by(ImageRow.key)).all()]
    return replace(lease, images=images)


def acquire_next(
    connection: Connection, now: float, owner: str, seconds: float, kinds: Sequence[TaskKind] = (EMBED,)
) -> Lease | None:
    """As `acquire`, the task whose turn it is, of the first kind that has any; None when none is ready."""
    for kind in kinds:
        for task_id in next_ready(connection, kind):
            lease = acquire(connection, now, task_id, owner, seconds, (kind,))
            if lease is not None:
                return lease
    return None


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
    values = {"lease_expires_at": now + seconds, "lease_seconds": seconds}
    return connection.execute(update(TaskRow).where(held(lease, now)).values(values)).rowcount == 1


def release(connection: Connection, now: float, lease: Lease, error: bool = False) -> None:
    """Back to ready, to be sent again; nothing when the lease was lost. ``error``: it went wrong."""
    told = {"deaths": 0, "errors": TaskRow.errors + int(error), "turn": _behind(connection, lease.kind)}
    connection.execute(update(TaskRow).where(held(lease, now)).values(BACK | told))


def _behind(connection: Connection, kind: TaskKind) -> ColumnElement[int]:
    return end_of_line(kind, served(connection, kind))


def survived(connection: Connection, lease: Lease) -> None:
    """A worker that lost this lease lives: the task did not kill it. Whoever has the task now keeps it."""
    mine = (TaskRow.id == lease.task_id, TaskRow.state.in_(("ready", "leased")))
    connection.execute(update(TaskRow).where(*mine, TaskRow.deaths > 0).values(deaths=0))


def split(connection: Connection, now: float, lease: Lease) -> int | None:
    """Half of the images go into a new task, whose id is returned; both are ready. None: the lease was lost.

    They stay under suspicion: one death less than their whole had, and as many errors.
    """
    if not lock_collection(connection, lease.collection.id):
        return None
    task = connection.execute(select(TASKS).where(held(lease, now)).with_for_update(key_share=True))
    whole = task.one_or_none()
    if whole is None:
        return None
    turn = max(take_turns(connection, whole.job_id, whole.kind, 2))
    suspected = BACK | {"deaths": max(0, whole.deaths - 1), "errors": whole.errors, "turn": turn}
    same = {name: getattr(whole, name) for name in ("job_id", "collection_id", "kind", "created_at")}
    values = {**same, **suspected, "attempt": 0}
    half = connection.scalars(insert(TaskRow).values(values).returning(TaskRow.id)).one()
    _move(connection, lease, [image.key for image in lease.images[len(lease.images) // 2 :]], half)
    connection.execute(update(TaskRow).where(TaskRow.id == lease.task_id).values(suspected))
    return half


def _move(connection: Connection, lease: Lease, keys: Sequence[int], half: int) -> None:
    if lease.kind != EMBED:
        move_pending(connection, lease.task_id, half, keys)
        return
    for chunk in chunks(keys):
        pending = (ImageRow.task_id == lease.task_id, ImageRow.state == "pending")
        moved = update(ImageRow).where(*pending, ImageRow.key.in_(chunk))
        connection.execute(moved.values(task_id=half))


def expire(connection: Connection, now: float) -> list[int]:
    """Makes tasks ready whose lease has run out; rows that are being changed are left to the next sweep."""
    query = select(TaskRow.kind, TaskRow.id).where(_ran_out(now)).order_by(TaskRow.lease_expires_at)
    expired: dict[TaskKind, list[int]] = defaultdict(list)
    for kind, task_id in connection.execute(query.with_for_update(skip_locked=True)):
        expired[kind].append(task_id)
    for kind, tasks in expired.items():
        back = BACK | {"deaths": TaskRow.deaths + 1, "turn": _behind(connection, kind)}
        for chunk in chunks(sorted(tasks)):
            connection.execute(update(TaskRow).where(TaskRow.id.in_(chunk)).values(back))
    return sorted(task_id for tasks in expired.values() for task_id in tasks)


def mark_sent(connection: Connection, now: float, task_ids: Sequence[int]) -> None:
    """A queue has taken messages about these tasks."""
    for chunk in chunks(sorted(set(task_ids))):
        ready = update(TaskRow).where(TaskRow.id.in_(chunk), TaskRow.state == "ready")
        connection.execute(ready.values(sent_at=now))


def unsent(connection: Connection, now: float, older_than: float, limit: int) -> list[int]:
    """Ready tasks never sent, or last sent at least ``older_than`` seconds ago (0: all ready tasks).

    What was sent later than now was sent before the clock was put back.
    """
    sent_long_ago = or_(TaskRow.sent_at <= now - older_than, TaskRow.sent_at > now)
    query = (
        select(TaskRow.id)
        .where(TaskRow.state == "ready", or_(TaskRow.sent_at.is_(None), sent_long_ago))
        .where(TaskRow.collection_id.in_(LIVING))
        .order_by(TaskRow.id)
        .limit(limit)
    )
    return list(connection.scalars(query))


def takeable(connection: Connection, now: float, kinds: Collection[TaskKind], limit: int) -> list[int]:
    """Tasks of these kinds that can be leased now, those whose lease has run out first.

    In the order of the small indexes of such tasks; by their ids SQLite would go through all tasks there are.
    """
    found: list[int] = []
    ready = TaskRow.state == "ready"
    for free, order in ((_ran_out(now), TaskRow.lease_expires_at), (ready, TaskRow.sent_at)):
        mine = (free, TaskRow.kind.in_(kinds), TaskRow.collection_id.in_(LIVING))
        query = select(TaskRow.id).where(*mine).order_by(order)
        found += connection.scalars(query.limit(limit - len(found)))
    return found


def backlog(connection: Connection, now: float) -> Backlog:
    """What waits for workers, and for how long; nobody waits for a collection in the trash."""
    free, taken = TaskRow.state == "ready", TaskRow.state == "leased"
    oldest = select(func.min(TaskRow.created_at)).where(TaskRow.collection_id.in_(LIVING))
    ready, leased = (connection.scalar(oldest.where(state)) for state in (free, taken))
    held_now = connection.scalar(select(func.count()).select_from(TaskRow).where(taken, ~_ran_out(now)))
    ready_seconds, leased_seconds = (
        0.0 if since is None else max(0.0, now - since) for since in (ready, leased)
    )
    return Backlog(max(ready_seconds, leased_seconds), ready_seconds, held_now or 0)


def find_task(connection: Connection, task_id: int) -> Task:
    """The task with this number; NotFoundError."""
    row = connection.execute(select(TASKS).where(TaskRow.id == task_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no task {task_id}.")
    return task_record(row)
