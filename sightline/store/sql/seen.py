"""What a job has met so far, and in which of its sources: ``prune`` spares it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, delete, insert, select

from sightline.store.schema_work import JobSeenRow
from sightline.store.sql.rows import chunks, update_many

Seen = Mapping[str, frozenset[int]]
"""image id → the sources in which a job has met it before; 0 where none was given."""

_MET = select(JobSeenRow.image_id, JobSeenRow.source_id).where(
    JobSeenRow.job_id == bindparam("job"), JobSeenRow.image_id.in_(bindparam("ids", expanding=True))
)


def mark_seen(connection: Connection, job_id: str, met: Mapping[str, int]) -> Seen:
    """Remembers ids (→ the source that has them, 0: none) for ``prune``; what was remembered before."""
    before: dict[str, frozenset[int]] = {}
    for chunk in chunks(met):
        for name, source_id in connection.execute(_MET, {"job": job_id, "ids": chunk}):
            before[name] = before.get(name, frozenset()) | {source_id}
    new = [
        {"job_id": job_id, "image_id": name, "source_id": source_id}
        for name, source_id in met.items()
        if source_id not in before.get(name, ())
    ]
    update_many(connection, insert(JobSeenRow), new)
    return before


def forget_seen(connection: Connection, job_id: str) -> None:
    connection.execute(delete(JobSeenRow).where(JobSeenRow.job_id == job_id))
