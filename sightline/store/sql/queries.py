"""What a query needs: one consistent view of a collection's segments, generation and dead keys."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, select

from sightline.errors import NoCollectionError
from sightline.store.records import Collection, Generation, Segment, Snapshot
from sightline.store.schema import CollectionRow, GenerationRow, ImageRow, PlacementRow, SegmentRow
from sightline.store.sql.releasing import IS_TRASHED
from sightline.store.sql.rows import (
    SELECT_COLLECTIONS,
    SELECT_GENERATIONS,
    SELECT_SEGMENTS,
    collection_named,
    collection_record,
    generation_record,
    segment_record,
)

_VERSION = select(CollectionRow.id, CollectionRow.version).where(
    CollectionRow.name == bindparam("name"), CollectionRow.trashed_at.is_(None)
)


def version(connection: Connection, name: str) -> tuple[int, int]:
    """(collection id, version): one row, cheap. NotFoundError."""
    row = connection.execute(_VERSION, {"name": name}).one_or_none()
    if row is None:
        raise NoCollectionError(name)
    return row.id, row.version


def now(connection: Connection, now: float) -> float:
    """The time by the database's clock: UTC seconds since the epoch. Ages of what it keeps are told by it."""
    return now


def snapshot(connection: Connection, name: str) -> Snapshot:
    """What a search of this collection goes by, read at one instant. NotFoundError."""
    return _snapshot(connection, collection_named(connection, name))


def snapshot_of(connection: Connection, collection_id: int) -> Snapshot | None:
    """The same by number, even of a collection in the trash; None when it is gone."""
    row = connection.execute(SELECT_COLLECTIONS.where(CollectionRow.id == collection_id)).one_or_none()
    return None if row is None else _snapshot(connection, collection_record(row))


def _snapshot(connection: Connection, collection: Collection) -> Snapshot:
    generation = _serving_generation(connection, collection.feature_set_id)
    covered = set(generation.covered) if generation is not None else set()
    segments = published_segments(connection, collection.feature_set_id)
    return Snapshot(
        collection=collection,
        generation=generation,
        uncovered=[segment for segment in segments if segment.id not in covered],
        covered=[segment for segment in segments if segment.id in covered],
        dead=dead_keys(connection, collection.feature_set_id),
        trashed=trashed_keys(connection, collection.id),
    )


def _serving_generation(connection: Connection, feature_set_id: int) -> Generation | None:
    serving = (GenerationRow.feature_set_id == feature_set_id, GenerationRow.serving)
    row = connection.execute(SELECT_GENERATIONS.where(*serving)).one_or_none()
    return None if row is None else generation_record(row)


def published_segments(connection: Connection, feature_set_id: int) -> list[Segment]:
    here = (SegmentRow.feature_set_id == feature_set_id, SegmentRow.state == "published")
    rows = connection.execute(SELECT_SEGMENTS.where(*here).order_by(SegmentRow.id)).all()
    return [segment_record(row) for row in rows]


def generations(connection: Connection, name: str) -> list[tuple[Generation, bool]]:
    """Those of the feature set that serves, and whether they serve: that one first, then by number.

    NotFoundError.
    """
    here = GenerationRow.feature_set_id == collection_named(connection, name).feature_set_id
    order = (GenerationRow.serving.desc(), GenerationRow.number.desc(), GenerationRow.kind)
    rows = connection.execute(SELECT_GENERATIONS.where(here).order_by(*order)).all()
    serving = connection.scalar(select(GenerationRow.file).where(here, GenerationRow.serving))
    return [(one, one.file == serving) for one in map(generation_record, rows)]


def dead_keys(connection: Connection, feature_set_id: int) -> NDArray[np.int64]:
    query = select(PlacementRow.key).where(PlacementRow.feature_set_id == feature_set_id, PlacementRow.dead)
    return _sorted_keys(connection.scalars(query))


def trashed_keys(connection: Connection, collection_id: int) -> NDArray[np.int64]:
    trashed = (ImageRow.collection_id == collection_id, IS_TRASHED)
    query = select(ImageRow.key).where(*trashed).order_by(ImageRow.trashed_at)  # in the order of their index
    return _sorted_keys(connection.scalars(query))


def _sorted_keys(keys: Iterable[int]) -> NDArray[np.int64]:
    return np.sort(np.fromiter(keys, dtype=np.int64))
