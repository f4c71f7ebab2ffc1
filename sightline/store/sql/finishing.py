"""The end of a task that published nothing: what it was for was stored elsewhere, or failed."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from sightline.store.records import EMBED, Lease
from sightline.store.schema import TaskRow
from sightline.store.sql.items import Failures, settle
from sightline.store.sql.jobs import note_progress
from sightline.store.sql.leases import held
from sightline.store.sql.rows import lock_collection


def finish(connection: Connection, now: float, lease: Lease, failures: Failures = ()) -> bool:
    """Every image of the lease is done, but those in ``failures``: (key, reason, detail).

    False, and nothing written, when the lease is lost or the task cancelled. A repeated call says True.
    Embedding tasks are published instead (else ValueError).
    """
    if lease.kind == EMBED:
        raise ValueError("An embedding task is published, not finished.")
    if not lock_collection(connection, lease.collection.id):
        return False
    job_id = connection.scalar(select(TaskRow.job_id).where(held(lease, now)).with_for_update(key_share=True))
    if job_id is None:
        return _was_finished(connection, lease)
    settle(connection, lease.task_id, failures)
    finished = {"state": "done", "lease_expires_at": None}
    connection.execute(update(TaskRow).where(TaskRow.id == lease.task_id).values(finished))
    note_progress(connection, now, job_id)
    return True


def _was_finished(connection: Connection, lease: Lease) -> bool:
    mine = (TaskRow.id == lease.task_id, TaskRow.owner == lease.owner, TaskRow.attempt == lease.attempt)
    return connection.scalar(select(TaskRow.id).where(*mine, TaskRow.state == "done")) is not None
