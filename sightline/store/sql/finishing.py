"""The end of a task that embeds nothing: it leaves texts, features, or what was stored elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from sightline.store.records import EMBED
from sightline.store.schema_work import TaskRow
from sightline.store.sql.features import publish_features
from sightline.store.sql.items import Failures, settle
from sightline.store.sql.jobs import note_progress
from sightline.store.sql.leases import held
from sightline.store.sql.rows import bump_version, lock_collection
from sightline.store.sql.text_writing import write_texts
from sightline.store.text_records import NewText
from sightline.store.work_records import FeatureSegment, Lease


def finish(
    connection: Connection,
    now: float,
    lease: Lease,
    failures: Failures = (),
    *,
    texts: Sequence[NewText] = (),
    features: FeatureSegment | None = None,
) -> bool:
    """Every image of the lease is done, but those in ``failures``: (key, reason, detail).

    ``texts``: what was found or judged, instead of what the same model said of these images before (see
    ``sightline.store.sql.text_writing``). ``features``: what was made of the images on the way;
    left out when another task was faster (then the file is a stray, which the builder removes).
    False, and nothing written, when the lease is lost or the task cancelled: the caller removes the file.
    A repeated call says True.
    Embedding tasks are published instead (else ValueError). InputError for texts that cannot be stored.
    """
    if lease.kind == EMBED:
        raise ValueError("An embedding task is published, not finished.")
    if not lock_collection(connection, lease.collection.id):
        return False
    job_id = connection.scalar(select(TaskRow.job_id).where(held(lease, now)).with_for_update(key_share=True))
    if job_id is None:
        return _was_finished(connection, lease)
    if features is not None:
        publish_features(connection, now, lease.collection.id, features)
    if texts:
        write_texts(connection, now, lease.collection.id, job_id, texts)
    if texts or features is not None:
        bump_version(connection, lease.collection.id)
    settle(connection, lease.task_id, failures)
    finished = {"state": "done", "lease_expires_at": None}
    connection.execute(update(TaskRow).where(TaskRow.id == lease.task_id).values(finished))
    note_progress(connection, now, job_id)
    return True


def _was_finished(connection: Connection, lease: Lease) -> bool:
    mine = (TaskRow.id == lease.task_id, TaskRow.owner == lease.owner, TaskRow.attempt == lease.attempt)
    return connection.scalar(select(TaskRow.id).where(*mine, TaskRow.state == "done")) is not None
