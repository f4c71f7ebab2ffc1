"""Segments that are made again with what can be had, and images that come back later.

An image whose tokens are nowhere any more cannot be found. Its key ends, and a failed row with the reason
`LOST` takes its place: id, address, caption and metadata stay until its original can be read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, exists, insert, literal, select, update

from sightline.store.records import LOST, Image, NewSegment
from sightline.store.schema import FeatureSetRow, ImageRow, PlacementRow
from sightline.store.sql.builder import replace_segments
from sightline.store.sql.fields import write_values
from sightline.store.sql.given import inherit
from sightline.store.sql.publishing import insert_segment, plain_segment
from sightline.store.sql.releasing import bury_keys, bury_trashed
from sightline.store.sql.rows import (
    IMAGES,
    PLACEMENTS,
    SELECT_IMAGES,
    bump_version,
    chunks,
    image_record,
    lock_collection,
    next_version,
    plain_keys,
    update_many,
)
from sightline.store.values import printable

_KEPT = ("collection_id", "image_id", "sha256", "uri", "caption", "metadata", "width", "height", "bytes",
         "source_id")  # fmt: skip


def images_in_segment(connection: Connection, segment_id: int) -> list[Image]:
    """The images that a segment serves or, for those in the trash, would serve again, by key."""
    here = SELECT_IMAGES.join(PlacementRow, PlacementRow.key == IMAGES.c.key).where(
        PlacementRow.segment_id == segment_id, ImageRow.state.in_(("live", "trashed"))
    )
    return [image_record(row) for row in connection.execute(here.order_by(ImageRow.key)).all()]


def mend_segment(
    connection: Connection,
    now: float,
    collection_id: int,
    segment_id: int,
    made: Sequence[NewSegment],
    lost: Mapping[int, str],
) -> bool:
    """Puts new segments in the place of a damaged one; ``lost``: key → why it is in none of them.

    False, and nothing written, when the segment or its images have changed meanwhile.
    """
    first = made[0] if made else None
    replaced = replace_segments(
        connection, now, collection_id, [segment_id], first, others=made[1:], lost=list(lost)
    )
    if replaced:
        _end(connection, now, lost)
    return replaced


def _end(connection: Connection, now: float, lost: Mapping[int, str]) -> None:
    """The rows of lost images, unless a new version of them waits already; then the end of their keys."""
    newer = IMAGES.alias("newer")
    waits = exists().where(
        newer.c.collection_id == IMAGES.c.collection_id,
        newer.c.image_id == IMAGES.c.image_id,
        newer.c.state == "pending",
    )
    for key, detail in lost.items():
        given = {"state": "failed", "reason": LOST, "detail": printable(detail), "created_at": now}
        kept = select(*(IMAGES.c[name] for name in _KEPT), *(literal(value) for value in given.values()))
        row = kept.where(IMAGES.c.key == key, IMAGES.c.state == "live", ~waits)
        made = insert(IMAGES).from_select([*_KEPT, *given], row).returning(IMAGES.c.key)
        for new in list(connection.scalars(made)):
            inherit(connection, key, new)
    bury_keys(connection, now, lost)
    for chunk in chunks(sorted(lost)):  # what was in the trash cannot be restored any more
        bury_trashed(connection, now, [ImageRow.key.in_(chunk)])


def lost_images(connection: Connection, collection_id: int, after: int = 0, limit: int = 256) -> list[Image]:
    """A page of them by key."""
    where = (ImageRow.collection_id == collection_id, ImageRow.state == "failed", ImageRow.reason == LOST)
    query = SELECT_IMAGES.where(*where, ImageRow.key > after).order_by(ImageRow.key).limit(limit)
    return [image_record(row) for row in connection.execute(query).all()]


def bring_back(connection: Connection, now: float, collection_id: int, made: NewSegment) -> list[int]:
    """Makes lost images live again, whose tokens ``made`` holds; their keys, and nothing written when none is
    lost any more. One whose id has a living version by now is given up.
    """
    made = plain_segment(made)
    if not lock_collection(connection, collection_id):
        return []
    keys = plain_keys(made.keys)
    lost = _still_lost(connection, keys)
    if not lost:
        return []
    serving = select(FeatureSetRow.id).where(FeatureSetRow.collection_id == collection_id)
    feature_set_id = connection.scalars(serving.where(FeatureSetRow.serving)).one()
    segment_id = insert_segment(connection, now, feature_set_id, made)
    others = [key for key in keys if key not in lost]
    _give_up(connection, others)
    live: dict[str, Any] = {"state": "live", "published_at": now, "reason": None, "detail": None}
    live["changed"] = next_version(connection, collection_id)
    statement = update(IMAGES).where(IMAGES.c.key == bindparam("the_key")).values(live)
    update_many(connection, statement, [{"the_key": key} for key in sorted(lost)])
    write_values(connection, collection_id, sorted(lost))
    place = {"feature_set_id": feature_set_id, "segment_id": segment_id}
    rows = [{**place, "key": key, "row": row, "dead": key not in lost} for row, key in enumerate(keys)]
    update_many(connection, insert(PLACEMENTS), rows)
    bump_version(connection, collection_id)
    return sorted(lost)


def _still_lost(connection: Connection, keys: Sequence[int]) -> set[int]:
    """Of these keys, those that are lost and whose id nobody else has."""
    other = IMAGES.alias("other")
    taken = exists().where(
        other.c.collection_id == IMAGES.c.collection_id,
        other.c.image_id == IMAGES.c.image_id,
        other.c.state.in_(("live", "pending")),
    )
    found: set[int] = set()
    for chunk in chunks(keys):
        lost = (ImageRow.key.in_(chunk), ImageRow.state == "failed", ImageRow.reason == LOST)
        found.update(connection.scalars(select(ImageRow.key).where(*lost, ~taken)))
    return found


def _give_up(connection: Connection, keys: Sequence[int]) -> None:
    """What a segment holds must be live or dead: what is neither is discarded."""
    for chunk in chunks(keys):
        waiting = (ImageRow.key.in_(chunk), ImageRow.state == "failed")
        connection.execute(update(IMAGES).where(*waiting).values(state="discarded"))
