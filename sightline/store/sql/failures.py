"""Why images of a job failed: what its sources and decoders said, then what tasks of other kinds did."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Connection, func, select

from sightline.errors import InputError
from sightline.store.schema import ImageRow
from sightline.store.sql import items
from sightline.store.sql.jobs import progress
from sightline.store.sql.registration import find_job
from sightline.store.work_records import ErrorPage, ItemError, JobReport

_CURSOR: Final = re.compile(r"([it])([0-9]{1,18})")
"""Where a page ended: at the key of an image, or of an item of a task of another kind."""
_START: Final = ("i", -1)


def report(connection: Connection, job_id: str, most: int = 100) -> JobReport:
    """A job with its counts and its first failures, at most ``most``: of one instant, so that they agree."""
    found = errors(connection, job_id, most) if most else []
    return JobReport(find_job(connection, job_id), progress(connection, job_id), found)


def reasons(connection: Connection, job_id: str) -> dict[str, int]:
    """reason → how many images of this job failed for it."""
    find_job(connection, job_id)
    failed = (ImageRow.job_id == job_id, ImageRow.state == "failed")
    query = select(func.coalesce(ImageRow.reason, ""), func.count()).where(*failed).group_by(ImageRow.reason)
    found: dict[str, int] = dict(connection.execute(query).all())
    return found


def errors(
    connection: Connection, job_id: str, limit: int = 100, reason: str | None = None
) -> list[ItemError]:
    """The first ones, in the order of their keys; with a reason, only those with it."""
    find_job(connection, job_id)
    found = [error for _, error in _of_images(connection, job_id, -1, limit, reason)]
    if reason is not None:
        return found
    return found + [error for _, error in items.errors(connection, job_id, -1, limit - len(found))]


def error_page(connection: Connection, job_id: str, cursor: str | None = None, limit: int = 100) -> ErrorPage:
    """One page of all of them, in the same order; ``cursor``: where the page before ended.

    Raises InputError for a foreign cursor, NotFoundError for no such job.
    """
    find_job(connection, job_id)
    part, after = _START if cursor is None else _parsed(cursor)
    found = []
    if part == "i":
        images = _of_images(connection, job_id, after, limit + 1, None)
        found = [(f"i{key}", error) for key, error in images]
        after = -1
    if len(found) <= limit:
        others = items.errors(connection, job_id, after, limit + 1 - len(found))
        found += [(f"t{key}", error) for key, error in others]
    more = len(found) > limit
    total = sum(reasons(connection, job_id).values()) + items.counts(connection, job_id).get("failed", 0)
    page = found[:limit]
    return ErrorPage([error for _, error in page], page[-1][0] if more else None, total)


def _of_images(
    connection: Connection, job_id: str, after: int, limit: int, reason: str | None
) -> list[tuple[int, ItemError]]:
    query = (
        select(ImageRow.key, ImageRow.image_id, ImageRow.reason, ImageRow.detail)
        .where(ImageRow.job_id == job_id, ImageRow.state == "failed", ImageRow.key > after)
        .order_by(ImageRow.key)
        .limit(limit)
    )
    if reason is not None:
        query = query.where(ImageRow.reason == reason)
    return [
        (key, ItemError(name, why or "", detail or ""))
        for key, name, why, detail in connection.execute(query)
    ]


def _parsed(cursor: str) -> tuple[str, int]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InputError(f"{cursor!r} is not a cursor that this listing gave.")
    return found[1], int(found[2])
