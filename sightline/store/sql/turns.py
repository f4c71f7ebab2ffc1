"""Whose turn it is: jobs that wait for the same workers share them, each a batch at a time.

Start-time fair queueing (Goyal, Vin, Cheng 1996) with tasks of equal cost: a new task's ``turn`` is one more
than its job's last, or what is being served now where that is later; the lowest turn is leased first. So a
job that comes while another has 30,000 tasks waiting is served after those in hand, and then every second
time; and finding the next task is one look into an index, whatever waits. Each kind of task has a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, ScalarSelect, case, func, select, text, update

from sightline.store.records import TaskKind
from sightline.store.schema_work import JobRow, TaskRow
from sightline.store.sql.rows import COLLECTIONS, JOBS

READY = cast("ColumnElement[bool]", text("tasks.state = 'ready'"))
"""Written out: the plan that PostgreSQL keeps for any state has no partial index."""


def take_turns(connection: Connection, job_id: str, kind: TaskKind, count: int) -> range:
    """The turns of ``count`` new tasks of a job, whose row the caller holds until the transaction ends."""
    last = connection.scalar(select(JOBS.c.turn).where(JobRow.id == job_id)) or 0
    first = max(last + 1, served(connection, kind))
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(turn=first + count - 1))
    return range(first, first + count)


def served(connection: Connection, kind: TaskKind) -> int:
    """The clock of a kind: the turn that is next; when nothing waits, beyond all that were ever given."""
    waiting = connection.scalar(select(func.min(_first_turn(kind))).where(COLLECTIONS.c.trashed_at.is_(None)))
    return int(waiting or connection.scalar(select(func.max(JobRow.turn))) or 1)


def end_of_line(kind: TaskKind, now_served: int) -> ColumnElement[int]:
    """The turn of a task that comes back: after the others of its job, and after what is served now.

    Else one that ends in trouble each time would be the next again, and nothing else would be done.
    """
    last = select(JOBS.c.turn).where(JobRow.id == TaskRow.job_id).scalar_subquery()
    return case((last > now_served, last), else_=now_served) + 1


def next_ready(connection: Connection, kind: TaskKind) -> Iterator[int]:
    """Tasks whose turn it is, for the rest of the transaction nobody else's: the next of each collection.

    Those that another transaction is just taking are passed over, and so are collections in the trash.
    """
    first = _first_turn(kind)
    living = (
        select(COLLECTIONS.c.id, first.label("turn")).where(COLLECTIONS.c.trashed_at.is_(None)).subquery()
    )
    waiting = select(living.c.id).where(living.c.turn.is_not(None)).order_by(living.c.turn)
    for collection_id in connection.scalars(waiting).all():
        mine = (READY, TaskRow.collection_id == collection_id, TaskRow.kind == kind)
        query = select(TaskRow.id).where(*mine).order_by(TaskRow.turn, TaskRow.id).limit(1)
        task_id = connection.scalar(query.with_for_update(skip_locked=True))
        if task_id is not None:
            yield task_id


def _first_turn(kind: TaskKind) -> ScalarSelect[Any]:
    """Of what waits in the collection that the query around it goes through; one look into the index."""
    mine = (READY, TaskRow.collection_id == COLLECTIONS.c.id, TaskRow.kind == kind)
    return select(func.min(TaskRow.turn)).where(*mine).scalar_subquery()
