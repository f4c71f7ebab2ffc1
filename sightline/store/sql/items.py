"""Tasks of other kinds than ``embed``: live images that wait for something, such as a caption.

The lease, its renewal and its end are those of every task; only where the images stand differs: those of an
embedding task name it, the others are rows of ``task_items``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    text,
    update,
)

from sightline.errors import InputError
from sightline.store.records import EMBED, Job, TaskKind
from sightline.store.schema import ImageRow
from sightline.store.schema_work import OTHER_KINDS, TaskItemRow, TaskRow
from sightline.store.sql.registration import insert_tasks, open_job
from sightline.store.sql.rows import IMAGES, SELECT_IMAGES, TASK_ITEMS, TASKS, chunks, plain_keys, update_many
from sightline.store.values import check_kind, printable
from sightline.store.work_records import ItemError

Failures = Sequence[tuple[int, str, str]]
"""(key, reason, detail)."""


def add_tasks(
    connection: Connection, now: float, job_id: str, kind: TaskKind, keys: Sequence[int], batch_size: int
) -> list[int]:
    """New tasks for live images that the job has not met yet under this kind; their ids, ascending.

    Keys that are not live in the job's collection (any more), or that the job has already, are left out: so
    a listing that broke off may simply be repeated. Raises ConflictError when the job takes no more images.
    """
    check_kind(kind)
    if kind == EMBED:
        raise InputError("Images to embed are registered, not added as tasks.")
    job = open_job(connection, job_id)
    wanted = sorted(
        {key for chunk in chunks(plain_keys(keys)) for key in _fresh(connection, job, kind, chunk)}
    )
    batches = list(chunks(wanted, batch_size))
    tasks = insert_tasks(connection, now, job, len(batches), kind)
    rows = [
        {"task_id": task, "key": key, "state": "pending"}
        for task, batch in zip(tasks, batches, strict=True)
        for key in batch
    ]
    update_many(connection, insert(TASK_ITEMS), rows)
    return tasks


def _fresh(connection: Connection, job: Job, kind: TaskKind, keys: Sequence[int]) -> list[int]:
    met = exists().where(
        TaskItemRow.key == ImageRow.key, TaskRow.id == TaskItemRow.task_id, TaskRow.job_id == job.id,
        TaskRow.kind == kind,
    )  # fmt: skip
    live = (ImageRow.collection_id == job.collection_id, ImageRow.state == "live")
    return list(connection.scalars(select(ImageRow.key).where(ImageRow.key.in_(keys), *live, ~met)))


def waiting(task_id: int) -> Select[Any]:
    """The live images of a task that it still owes an outcome."""
    owed = (TaskItemRow.task_id == task_id, TaskItemRow.state == "pending", ImageRow.state == "live")
    return SELECT_IMAGES.join(TASK_ITEMS, TASK_ITEMS.c.key == IMAGES.c.key).where(*owed)


def settle(connection: Connection, task_id: int, failures: Failures) -> None:
    """What failed has failed, what died meanwhile is dropped, everything else is done.

    Raises ValueError for failures that are not of this task, or are named twice: a mistake of the worker.
    """
    keys = [key for key, _, _ in failures]
    mine = set(connection.scalars(select(TaskItemRow.key).where(TaskItemRow.task_id == task_id)))
    if len(set(keys)) != len(keys):
        raise ValueError("A key is answered twice.")
    if strangers := set(keys) - mine:
        raise ValueError(f"Keys {sorted(strangers)} are not of this task.")
    owed = (TaskItemRow.task_id == task_id, TaskItemRow.state == "pending")
    alive = exists().where(ImageRow.key == TaskItemRow.key, ImageRow.state == "live")
    connection.execute(delete(TaskItemRow).where(*owed, ~alive))
    failed = update(TASK_ITEMS).where(
        TASK_ITEMS.c.task_id == task_id,
        TASK_ITEMS.c.key == bindparam("the_key"),
        TASK_ITEMS.c.state == "pending",
    )
    values = {"state": "failed", "reason": bindparam("the_reason"), "detail": bindparam("the_detail")}
    parameters = [
        {"the_key": int(key), "the_reason": printable(reason), "the_detail": printable(detail)}
        for key, reason, detail in failures
    ]
    update_many(connection, failed.values(values), parameters)
    connection.execute(update(TaskItemRow).where(*owed).values(state="done"))


def move_pending(connection: Connection, task_id: int, to: int, keys: Sequence[int]) -> None:
    """What a task still owes for these keys is another's now."""
    for chunk in chunks(keys):
        owed = (TaskItemRow.task_id == task_id, TaskItemRow.state == "pending", TaskItemRow.key.in_(chunk))
        connection.execute(update(TaskItemRow).where(*owed).values(task_id=to))


def drop_pending(connection: Connection, job_id: str) -> None:
    """The job is over: what it still owed is not asked for any more."""
    tasks = select(TaskRow.id).where(*_of_job(job_id))
    owed = (TaskItemRow.state == "pending", TaskItemRow.task_id.in_(tasks))
    connection.execute(delete(TaskItemRow).where(*owed))


def retry(connection: Connection, now: float, job: Job, batch_size: int) -> list[int]:
    """Failed items whose image is live go into new tasks of their kind; the ids of these."""
    alive = exists().where(ImageRow.key == TaskItemRow.key, ImageRow.state == "live")
    query = (
        select(TaskRow.kind, TaskItemRow.task_id, TaskItemRow.key)
        .join(TaskRow, TaskRow.id == TaskItemRow.task_id)
        .where(*_of_job(job.id), TaskItemRow.state == "failed", alive)
        .order_by(TaskRow.kind, TaskItemRow.key)
    )
    made: list[int] = []
    for kind, failed in groupby(connection.execute(query).all(), key=lambda row: row.kind):
        batches = list(chunks(failed, batch_size))
        tasks = insert_tasks(connection, now, job, len(batches), kind)
        for task, batch in zip(tasks, batches, strict=True):
            _reopen(connection, task, [(row.task_id, row.key) for row in batch])
        made += tasks
    return made


def _reopen(connection: Connection, task_id: int, failed: Sequence[tuple[int, int]]) -> None:
    item = (TASK_ITEMS.c.task_id == bindparam("the_task"), TASK_ITEMS.c.key == bindparam("the_key"))
    values = {"task_id": task_id, "state": "pending", "reason": None, "detail": None}
    parameters = [{"the_task": task, "the_key": key} for task, key in failed]
    update_many(connection, update(TASK_ITEMS).where(*item).values(values), parameters)


def counts(connection: Connection, job_id: str) -> dict[str, int]:
    """state → number of items."""
    query = select(TaskItemRow.state, func.count()).join(TaskRow, TaskRow.id == TaskItemRow.task_id)
    grouped = query.where(*_of_job(job_id)).group_by(TaskItemRow.state)
    found: dict[str, int] = dict(connection.execute(grouped).all())
    return found


def errors(connection: Connection, job_id: str, after: int, limit: int) -> list[tuple[int, ItemError]]:
    """(key, why) of failed items, by their keys, beyond the key ``after``."""
    query = (
        select(TaskItemRow.key, ImageRow.image_id, TaskItemRow.reason, TaskItemRow.detail)
        .join(TaskItemRow, TaskItemRow.key == ImageRow.key)
        .join(TaskRow, TaskRow.id == TaskItemRow.task_id)
        .where(*_of_job(job_id), TaskItemRow.state == "failed", TaskItemRow.key > after)
        .order_by(TaskItemRow.key)
        .limit(limit)
    )
    return [
        (key, ItemError(name, reason or "", detail or ""))
        for key, name, reason, detail in connection.execute(query)
    ]


def _of_job(job_id: str) -> tuple[ColumnElement[bool], ...]:
    """Written out, so that the small index of such tasks serves: most jobs have none."""
    return (TASKS.c.job_id == job_id, text(f"tasks.{OTHER_KINDS}"))  # type: ignore[return-value]
