"""What a query needs: one consistent view of a collection's segments, generation and dead keys."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, select

from sightline.errors import NotFoundError
from sightline.store.filters import Filter
from sightline.store.records import Generation, Segment, Snapshot
from sightline.store.schema import CollectionRow, GenerationRow, ImageRow, SegmentRow
from sightline.store.sql.filter_sql import condition
from sightline.store.sql.rows import (
    GENERATIONS,
    SEGMENTS,
    collection_named,
    generation_record,
    segment_record,
)

_VERSION = select(CollectionRow.id, CollectionRow.version).where(CollectionRow.name == bindparam("name"))


def version(connection: Connection, name: str) -> tuple[int, int]:
    row = connection.execute(_VERSION, {"name": name}).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no collection {name!r}")
    return row.id, row.version


def snapshot(connection: Connection, name: str) -> Snapshot:
    collection = collection_named(connection, name)
    generation = current_generation(connection, collection.id)
    covered = set(generation.covered) if generation is not None else set()
    segments = published_segments(connection, collection.id)
    return Snapshot(
        collection=collection,
        generation=generation,
        uncovered=[segment for segment in segments if segment.id not in covered],
        covered=[segment for segment in segments if segment.id in covered],
        dead=_dead_keys(connection, collection.id),
    )


def current_generation(connection: Connection, collection_id: int) -> Generation | None:
    row = connection.execute(
        select(GENERATIONS).where(GenerationRow.collection_id == collection_id)
    ).one_or_none()
    return None if row is None else generation_record(row)


def published_segments(connection: Connection, collection_id: int) -> list[Segment]:
    query = select(SEGMENTS).where(SegmentRow.collection_id == collection_id, SegmentRow.state == "published")
    return [segment_record(row) for row in connection.execute(query.order_by(SegmentRow.id))]


def _dead_keys(connection: Connection, collection_id: int) -> NDArray[np.int64]:
    query = select(ImageRow.key).where(
        ImageRow.collection_id == collection_id,
        ImageRow.state.in_(("buried", "discarded")),
        ImageRow.segment_id.is_not(None),
    )
    return _sorted_keys(connection.scalars(query))


def filter_keys(connection: Connection, collection_id: int, filter: Filter) -> NDArray[np.int64]:
    query = select(ImageRow.key).where(
        ImageRow.collection_id == collection_id,
        ImageRow.state == "live",
        condition(filter, connection.dialect.name),
    )
    return _sorted_keys(connection.scalars(query))


def _sorted_keys(keys: Iterable[int]) -> NDArray[np.int64]:
    return np.sort(np.fromiter(keys, dtype=np.int64))
