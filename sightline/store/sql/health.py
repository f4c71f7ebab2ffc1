"""The catalog's invariants, as queries that must find nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select
from sqlalchemy.sql.selectable import Select

from sightline.store.schema import GenerationRow, ImageRow, JobRow, SegmentRow, TaskRow
from sightline.store.sql.jobs import OPEN

Check = Callable[[Connection], Iterator[str]]


def problems(connection: Connection) -> list[str]:
    """One sentence per broken invariant, with how often it is broken and one example."""
    checks: tuple[Check, ...] = (_images, _rows, _segments, _tasks, _jobs, _generations)
    return [problem for check in checks for problem in check(connection)]


def _found(connection: Connection, query: Select[Any], sentence: str) -> Iterator[str]:
    """``query`` selects the ids of the offenders."""
    offenders = list(connection.scalars(query.limit(1_000)))
    if offenders:
        more = " or more" if len(offenders) == 1_000 else ""
        yield f"{sentence}: {len(offenders)}{more}, for example {offenders[0]}"


def _images(connection: Connection) -> Iterator[str]:
    key = select(ImageRow.key)
    homeless = or_(ImageRow.segment_id.is_(None), ImageRow.row.is_(None))
    live = ImageRow.state == "live"
    yield from _found(connection, key.where(live, homeless), "Live images without a segment and row (keys)")
    astray = key.join(SegmentRow, SegmentRow.id == ImageRow.segment_id).where(
        live, or_(SegmentRow.state != "published", SegmentRow.collection_id != ImageRow.collection_id)
    )
    yield from _found(connection, astray, "Live images in a segment that is not published here (keys)")
    waiting = and_(ImageRow.state.in_(("pending", "failed")), ImageRow.segment_id.is_not(None))
    yield from _found(connection, key.where(waiting), "Pending or failed images with a segment (keys)")
    orphan = key.outerjoin(TaskRow, TaskRow.id == ImageRow.task_id).where(
        ImageRow.state == "pending", or_(TaskRow.id.is_(None), TaskRow.state.not_in(OPEN))
    )
    yield from _found(connection, orphan, "Pending images without an open task (keys)")


def _rows(connection: Connection) -> Iterator[str]:
    placed: ColumnElement[bool] = and_(ImageRow.segment_id.is_not(None), ImageRow.row.is_not(None))
    shared = select(ImageRow.segment_id).where(placed).group_by(ImageRow.segment_id, ImageRow.row)
    twice = shared.having(func.count() > 1)
    yield from _found(connection, twice, "Two images in one row of a segment (segments)")
    beyond = select(ImageRow.key).join(SegmentRow, SegmentRow.id == ImageRow.segment_id)
    outside = beyond.where(or_(ImageRow.row < 0, ImageRow.row >= SegmentRow.count))
    yield from _found(connection, outside, "Images in a row that their segment does not have (keys)")


def _segments(connection: Connection) -> Iterator[str]:
    placed = and_(ImageRow.segment_id == SegmentRow.id, ImageRow.row.is_not(None))
    counted = select(SegmentRow.id).outerjoin(ImageRow, placed).where(SegmentRow.state == "published")
    differing = counted.group_by(SegmentRow.id, SegmentRow.count).having(
        func.count(ImageRow.key) != SegmentRow.count
    )
    yield from _found(connection, differing, "Segments whose count differs from their images (segments)")
    retired = select(ImageRow.key).join(SegmentRow, SegmentRow.id == ImageRow.segment_id)
    left = retired.where(SegmentRow.state == "retired", ImageRow.row.is_not(None))
    yield from _found(connection, left, "Images in a row of a retired segment (keys)")


def _tasks(connection: Connection) -> Iterator[str]:
    unowned = or_(TaskRow.owner.is_(None), TaskRow.lease_expires_at.is_(None))
    leased = select(TaskRow.id).where(TaskRow.state == "leased", unowned)
    yield from _found(connection, leased, "Leased tasks without an owner or an end (tasks)")
    ended = select(TaskRow.id).join(JobRow, JobRow.id == TaskRow.job_id)
    open_in_ended = ended.where(TaskRow.state.in_(OPEN), JobRow.state.not_in(("registering", "running")))
    yield from _found(connection, open_in_ended, "Open tasks of a job that has ended (tasks)")


def _jobs(connection: Connection) -> Iterator[str]:
    open_tasks = and_(TaskRow.job_id == JobRow.id, TaskRow.state.in_(OPEN))
    idle = select(JobRow.id).outerjoin(TaskRow, open_tasks)
    stuck = idle.where(JobRow.state == "running", TaskRow.id.is_(None))
    yield from _found(connection, stuck, "Running jobs without an open task (jobs)")


def _generations(connection: Connection) -> Iterator[str]:
    """Few rows, and JSON: counted here."""
    published = set(connection.scalars(select(SegmentRow.id).where(SegmentRow.state == "published")))
    for collection_id, covered in connection.execute(
        select(GenerationRow.collection_id, GenerationRow.covered)
    ):
        missing = sorted(set(covered) - published)
        if missing:
            yield f"The generation of collection {collection_id} covers unpublished segments {missing}"
