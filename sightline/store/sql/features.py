"""Feature sets that do not serve: what models that caption or answer made of a collection's images, once.

They have segments and placements as the set that serves, and no generation. What they hold is derived: a
segment that is lost is forgotten, and its images are encoded again when they are needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sightline.store.records import Snapshot
from sightline.store.schema import FeatureSetRow, ImageRow, PlacementRow, SegmentRow
from sightline.store.sql.publishing import insert_segment, plain_segment
from sightline.store.sql.queries import dead_keys, published_segments, trashed_keys
from sightline.store.sql.rows import (
    COLLECTIONS,
    FEATURE_SETS,
    PLACEMENTS,
    SELECT_COLLECTIONS,
    bump_version,
    chunks,
    collection_record,
    lock_collection,
    require_collection,
    update_many,
)
from sightline.store.text_records import FeatureSet
from sightline.store.work_records import FeatureSegment

SELECT_SETS: Final[Select[Any]] = select(
    FEATURE_SETS.c.id, FEATURE_SETS.c.collection_id, FEATURE_SETS.c.model, FEATURE_SETS.c.revision,
    FEATURE_SETS.c.fingerprint, FEATURE_SETS.c.num_query_tokens, FEATURE_SETS.c.joint_dim,
    FEATURE_SETS.c.serving, FEATURE_SETS.c.created_at,
)  # fmt: skip


def find(connection: Connection, collection_id: int, fingerprint: str) -> FeatureSet | None:
    """What the model with this fingerprint has of a collection; None when it has made nothing yet."""
    named = (FeatureSetRow.collection_id == collection_id, FeatureSetRow.fingerprint == fingerprint)
    row = connection.execute(SELECT_SETS.where(*named)).one_or_none()
    return None if row is None else _record(row)


def _record(row: Row[*tuple[Any, ...]]) -> FeatureSet:
    return FeatureSet(*row)


def ensure(
    connection: Connection,
    now: float,
    collection_id: int,
    model: str,
    revision: str | None,
    fingerprint: str,
    num_query_tokens: int = 0,
    joint_dim: int = 0,
) -> FeatureSet:
    """The feature set of a model, made if need be; a new one does not serve. NotFoundError: no collection."""
    require_collection(connection, collection_id)
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {
        "collection_id": collection_id,
        "model": model,
        "revision": revision,
        "fingerprint": fingerprint,
        "num_query_tokens": num_query_tokens,
        "joint_dim": joint_dim,
        "serving": False,
        "created_at": now,
    }
    made = upsert(FEATURE_SETS).values(values)
    connection.execute(made.on_conflict_do_nothing(index_elements=["collection_id", "fingerprint"]))
    found = find(connection, collection_id, fingerprint)
    assert found is not None  # of this very transaction
    return found


def others(connection: Connection, collection_id: int) -> list[FeatureSet]:
    """The feature sets of a collection that do not serve, in the order in which they came."""
    here = (FeatureSetRow.collection_id == collection_id, ~FeatureSetRow.serving)
    return [_record(row) for row in connection.execute(SELECT_SETS.where(*here).order_by(FeatureSetRow.id))]


def publish_features(
    connection: Connection, now: float, collection_id: int, features: FeatureSegment
) -> None:
    """Places the rows of a segment; callers hold the collection, and the lease under which it was made.

    Nothing when the set has one of these images by now: another task was faster, and the file is a stray.
    ValueError for a feature set or images of another collection: a mistake of the worker.
    """
    feature_set_id, new = features.feature_set_id, plain_segment(features.segment)
    owner = select(FeatureSetRow.collection_id).where(FeatureSetRow.id == feature_set_id)
    if connection.scalar(owner) != collection_id:
        raise ValueError("The feature set is of another collection.")
    states: dict[int, str] = {}
    for chunk in chunks(new.keys):
        images = select(ImageRow.key, ImageRow.state).where(
            ImageRow.key.in_(chunk), ImageRow.collection_id == collection_id
        )
        states.update((row.key, row.state) for row in connection.execute(images))
    if strangers := {int(key) for key in new.keys} - states.keys():
        raise ValueError(f"Keys {sorted(strangers)} are not of this collection.")
    if _has_some(connection, feature_set_id, list(states)):
        return
    segment_id = insert_segment(connection, now, feature_set_id, new)
    place = {"feature_set_id": feature_set_id, "segment_id": segment_id}
    rows = [
        {**place, "key": int(key), "row": row, "dead": states[int(key)] != "live"}
        for row, key in enumerate(new.keys)
    ]
    update_many(connection, insert(PLACEMENTS), rows)


def _has_some(connection: Connection, feature_set_id: int, keys: list[int]) -> bool:
    """Whether the set has one of these images. It has each once, and a segment is placed as a whole."""
    for chunk in chunks(keys):
        there = (PlacementRow.feature_set_id == feature_set_id, PlacementRow.key.in_(chunk))
        if connection.scalar(select(PlacementRow.key).where(*there).limit(1)) is not None:
            return True
    return False


def snapshot_of_set(connection: Connection, feature_set_id: int) -> Snapshot | None:
    """The segments of one feature set with what is dead in it, as of a collection; None when it is gone.

    Its ``collection`` names the model of this set. One that does not serve has no generation.
    """
    row = connection.execute(SELECT_SETS.where(FeatureSetRow.id == feature_set_id)).one_or_none()
    if row is None:
        return None
    found = _record(row)
    served = SELECT_COLLECTIONS.where(COLLECTIONS.c.id == found.collection_id)
    collection = replace(
        collection_record(connection.execute(served).one()),
        model=found.model,
        revision=found.revision,
        fingerprint=found.fingerprint,
        num_query_tokens=found.num_query_tokens,
        joint_dim=found.joint_dim,
        feature_set_id=found.id,
    )
    return Snapshot(
        collection=collection,
        generation=None,
        uncovered=published_segments(connection, found.id),
        covered=[],
        dead=dead_keys(connection, found.id),
        trashed=trashed_keys(connection, found.collection_id),
    )


def forget_features(connection: Connection, now: float, collection_id: int, segment_id: int) -> bool:
    """Gives up a segment of a set that does not serve: its images are encoded again when they are needed.

    False when it is not published (any more), or serves.
    """
    if not lock_collection(connection, collection_id):
        return False
    idle = (FeatureSetRow.collection_id == collection_id, ~FeatureSetRow.serving)
    sets = select(FeatureSetRow.id).where(*idle)
    mine = (SegmentRow.id == segment_id, SegmentRow.state == "published", SegmentRow.feature_set_id.in_(sets))
    if connection.scalar(select(SegmentRow.id).where(*mine)) is None:
        return False
    connection.execute(delete(PlacementRow).where(PlacementRow.segment_id == segment_id))
    retired = update(SegmentRow).where(SegmentRow.id == segment_id)
    connection.execute(retired.values(state="retired", retired_at=now))
    bump_version(connection, collection_id)
    return True
