"""The one transaction that makes a leased batch searchable, or does nothing at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from sightline.store.records import EMBED, NewSegment
from sightline.store.schema import ImageRow, SegmentRow
from sightline.store.schema_work import TaskRow
from sightline.store.sql.fields import write_values
from sightline.store.sql.jobs import note_progress
from sightline.store.sql.leases import held
from sightline.store.sql.loose import admit
from sightline.store.sql.releasing import bury_keys
from sightline.store.sql.rows import (
    IMAGES,
    PLACEMENTS,
    bump_version,
    lock_collection,
    next_version,
    plain_keys,
    update_many,
)
from sightline.store.values import printable
from sightline.store.work_records import Lease

Failures = Sequence[tuple[int, str, str]]
"""(key, reason, detail)."""
Sizes = Mapping[int, tuple[int, int]]
"""key → width and height of the upright picture, in pixels."""


def publish(
    connection: Connection,
    now: float,
    lease: Lease,
    segment: NewSegment | None,
    failures: Failures = (),
    sizes: Sizes = MappingProxyType({}),
) -> bool:
    """Makes the images of ``segment`` live, in place of the versions that they replace, and ends the task.

    Every pending image of the task is in ``segment.keys`` or in ``failures`` (else ValueError).
    ``failures``: (key, reason, detail). ``sizes``: key → width and height of each picture in the segment.
    False, and nothing written, when the lease was lost or the task cancelled. A repeated call that finds
    this very segment published says True: its caller must not remove the file.
    """
    if lease.kind != EMBED:
        raise ValueError(f"A task of kind {lease.kind!r} is finished, not published.")
    if not lock_collection(connection, lease.collection.id):
        return False
    task = select(TaskRow.job_id).where(held(lease, now)).with_for_update(key_share=True)
    job_id = connection.scalar(task)
    if job_id is None:
        return segment is not None and _is_published(connection, segment.file)
    images = _images_of(connection, lease.task_id)
    segment = plain_segment(segment) if segment is not None else None
    failures = [(int(key), reason, detail) for key, reason, detail in failures]
    _check_complete(images, segment, failures)
    if segment is not None and segment.keys:
        _publish_rows(connection, now, lease, segment, images, sizes)
    _fail(connection, [failure for failure in failures if images[failure[0]].state == "pending"])
    finished = {"state": "done", "lease_expires_at": None}
    connection.execute(update(TaskRow).where(TaskRow.id == lease.task_id).values(finished))
    note_progress(connection, now, job_id)
    return True


def plain_segment(new: NewSegment) -> NewSegment:
    """With plain integers: see ``plain_keys``."""
    return replace(new, bytes=int(new.bytes), keys=plain_keys(new.keys))


def _is_published(connection: Connection, file: str) -> bool:
    return connection.scalar(select(SegmentRow.id).where(SegmentRow.file == file)) is not None


def _images_of(connection: Connection, task_id: int) -> dict[int, Any]:
    query = select(ImageRow.key, ImageRow.state, ImageRow.replaces_key).where(ImageRow.task_id == task_id)
    return {row.key: row for row in connection.execute(query)}


def _check_complete(images: dict[int, Any], segment: NewSegment | None, failures: Failures) -> None:
    """A mistake of the worker, not of the world: ValueError."""
    stored = list(segment.keys) if segment is not None else []
    answered = stored + [failure[0] for failure in failures]
    if len(set(answered)) != len(answered):
        raise ValueError("A key is answered twice.")
    if strangers := set(answered) - images.keys():
        raise ValueError(f"Keys {sorted(strangers)} are not of this task.")
    if missing := {key for key, image in images.items() if image.state == "pending"} - set(answered):
        raise ValueError(f"Pending keys {sorted(missing)} are neither in the segment nor among the failures.")


def _publish_rows(
    connection: Connection,
    now: float,
    lease: Lease,
    segment: NewSegment,
    images: dict[int, Any],
    sizes: Sizes,
) -> None:
    feature_set_id = lease.collection.feature_set_id
    segment_id = insert_segment(connection, now, feature_set_id, segment)
    rows = [(int(key), row) for row, key in enumerate(segment.keys)]
    alive = [(key, row) for key, row in rows if images[key].state == "pending"]
    replaced = [images[key].replaces_key for key, _ in alive]
    bury_keys(connection, now, (key for key in replaced if key is not None))
    parameters = [
        {"the_key": key, "the_width": int(sizes[key][0]), "the_height": int(sizes[key][1])}
        for key, _ in alive
    ]
    statement = update(IMAGES).where(IMAGES.c.key == bindparam("the_key"))
    values = {
        "state": "live",
        "width": bindparam("the_width"),
        "height": bindparam("the_height"),
        "published_at": now,
        "changed": next_version(connection, lease.collection.id),
    }
    update_many(connection, statement.values(values), parameters)
    write_values(connection, lease.collection.id, [key for key, _ in alive])
    placed = {"feature_set_id": feature_set_id, "segment_id": segment_id}
    places = [{**placed, "key": key, "row": row, "dead": images[key].state != "pending"} for key, row in rows]
    update_many(connection, insert(PLACEMENTS), places)
    bump_version(connection, lease.collection.id)


def insert_segment(connection: Connection, now: float, feature_set_id: int, new: NewSegment) -> int:
    """Its id. FileMissingError: its file was set aside meanwhile."""
    admit(connection, new.file)
    values = {
        "feature_set_id": feature_set_id,
        "file": new.file,
        "sha256": new.sha256,
        "count": len(new.keys),
        "codec": new.codec,
        "bytes": new.bytes,
        "state": "published",
        "created_at": now,
    }
    return connection.scalars(insert(SegmentRow).values(values).returning(SegmentRow.id)).one()


def _fail(connection: Connection, failures: Failures) -> None:
    statement = update(IMAGES).where(IMAGES.c.key == bindparam("the_key"))
    values = {"state": "failed", "reason": bindparam("the_reason"), "detail": bindparam("the_detail")}
    parameters = [
        {"the_key": key, "the_reason": printable(reason), "the_detail": printable(detail)}
        for key, reason, detail in failures
    ]
    update_many(connection, statement.values(values), parameters)
