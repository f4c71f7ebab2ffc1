"""Jobs whose images are still being registered, and what becomes of one whose process has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, literal, text, update
from sqlalchemy.sql.functions import coalesce

from sightline.store.records import KNOWN_BROKEN, LISTING, SKIPPED_KINDS, Job
from sightline.store.schema_work import REGISTERING, JobRow
from sightline.store.sql.jobs import LISTING_ENDED, finish_if_last
from sightline.store.sql.registration import SELECT_JOBS, locked_job
from sightline.store.sql.rows import JOBS, SINGLETONS
from sightline.store.sql.seen import forget_seen
from sightline.store.sql.singletons import forget, free
from sightline.store.values import plain_json
from sightline.store.work_records import Listing

RESUMED = "resumed"
"""Where a job's request says how often its listing was taken up again."""

FOUND = "found"
"""Where a job's request says what kinds of sources its were."""


def unsealed(connection: Connection, now: float) -> list[Listing]:
    """Every job that still registers, with what its lease says; the oldest first."""
    lease = SINGLETONS.c.name == literal(LISTING) + JOBS.c.id
    query = SELECT_JOBS.outerjoin(SINGLETONS, lease).add_columns(
        SINGLETONS.c.expires_at, coalesce(free(now), True).label("free")
    )
    rows = connection.execute(query.where(text(f"jobs.{REGISTERING}")).order_by(JobRow.created_at)).all()
    return [_listing(dict(row._mapping)) for row in rows]


def _listing(row: dict[str, Any]) -> Listing:
    expires_at, is_free = row.pop("expires_at"), bool(row.pop("free"))
    job = Job(**row)
    return Listing(job, max(job.updated_at, expires_at or 0.0), expires_at is not None, is_free)


def note_resumed(connection: Connection, job_id: str) -> int:
    """Somebody takes up the listing of a job again; how often that has happened by now."""
    job = locked_job(connection, job_id)
    times = int(job.request.get(RESUMED, 0)) + 1
    request = {**plain_json(job.request), RESUMED: times}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(request=request))
    return times


def note_found(connection: Connection, job_id: str, kinds: Sequence[str]) -> None:
    """What kinds of sources the job's were: its request says so from now on."""
    job = locked_job(connection, job_id)
    request = {**plain_json(job.request), FOUND: list(kinds)}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(request=request))


def note_passed_over(connection: Connection, job_id: str, kinds: Mapping[str, int], broken: int) -> None:
    """What the job's sources have that is no picture, by kind, and how many files are as broken as before.

    No sum: a listing that is begun anew counts anew.
    """
    job = locked_job(connection, job_id)
    request = {**plain_json(job.request), SKIPPED_KINDS: dict(kinds), KNOWN_BROKEN: broken}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(request=request))


def end_early(connection: Connection, now: float, job_id: str) -> None:
    """Nobody lists the job's sources any more: what was registered is still done, and then it has failed.

    Nothing for a job that is sealed, or has ended.
    """
    job = locked_job(connection, job_id)
    if job.state != "registering":
        return
    forget_seen(connection, job_id)
    forget(connection, f"{LISTING}{job_id}")
    values = {"sealed": True, "broken": True, "state": "running", "detail": LISTING_ENDED, "updated_at": now}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
    finish_if_last(connection, now, job_id)
