"""What a source no longer has, as far as a job has listed it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, exists, false, func, or_, select, true, update

from sightline.errors import ConflictError
from sightline.store.records import Job
from sightline.store.schema import ImageRow
from sightline.store.schema_work import JobRow, JobSeenRow
from sightline.store.sql.registration import open_job
from sightline.store.sql.releasing import Where, to_trash
from sightline.store.sql.rows import bump_version
from sightline.store.sql.sources import source_id
from sightline.store.work_records import Pruning

EXAMPLES = 5


def prunable(connection: Connection, job_id: str, source: str, names: Sequence[str] = ()) -> Pruning:
    """What ``prune`` would take, and of how many. ConflictError once the job is sealed."""
    job = open_job(connection, job_id)
    gone = [*_gone(connection, job, source), _named(names)]
    here = [ImageRow.collection_id == job.collection_id, _came_from(connection, job, source)]
    images, missing = (
        int(connection.scalar(select(func.count()).select_from(ImageRow).where(*where, _LIVE)) or 0)
        for where in (here, gone)
    )
    first = select(ImageRow.image_id).where(*gone, _LIVE).order_by(ImageRow.image_id).limit(EXAMPLES)
    return Pruning(source, images, missing, tuple(connection.scalars(first)))


def prune(
    connection: Connection, now: float, job_id: str, source: str, most: int, names: Sequence[str] = ()
) -> int:
    """Moves the live images of one source whose id this job has not met there to the trash; how many.

    Those of other sources, and those whose source is unknown, stay; so does what another job has pending.
    Only before the job is sealed, and never more than ``most`` (else ConflictError, and none is moved).
    """
    job = open_job(connection, job_id)
    deleted = len(to_trash(connection, now, [*_gone(connection, job, source), _named(names)]))
    if deleted > most:
        raise ConflictError(f"{deleted} images of {source} are gone by now, more than the {most} agreed on.")
    values = {"deleted": JobRow.deleted + deleted, "updated_at": now}
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
    if deleted:
        bump_version(connection, job.collection_id)
    return deleted


_LIVE = ImageRow.state == "live"


def _named(names: Sequence[str]) -> ColumnElement[bool]:
    if not names:
        return true()
    below = (ImageRow.image_id.startswith(f"{name}/", autoescape=True) for name in names)
    return or_(ImageRow.image_id.in_(names), *below)


def _came_from(connection: Connection, job: Job, source: str) -> ColumnElement[bool]:
    found = source_id(connection, job.collection_id, source)
    return false() if found is None else ImageRow.source_id == found


def _gone(connection: Connection, job: Job, source: str) -> Where:
    """Images of the source that the job has not met in it, but for those that came while it looked."""
    met = and_(
        JobSeenRow.job_id == job.id,
        JobSeenRow.image_id == ImageRow.image_id,
        JobSeenRow.source_id == ImageRow.source_id,
    )
    here = (ImageRow.collection_id == job.collection_id, ImageRow.created_at <= job.created_at)
    return [*here, _came_from(connection, job, source), ~exists().where(met)]
