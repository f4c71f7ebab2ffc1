"""From rows to records, and the few helpers that all statements share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any, SupportsInt, TypeVar, cast

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    func,
    literal,
    select,
    text,
    update,
)

from sightline.errors import NoCollectionError, NotFoundError
from sightline.store.records import Collection, Generation, Image, Job, Segment, Task
from sightline.store.schema import (
    CollectionRow,
    FeatureSetRow,
    GenerationRow,
    ImageRow,
    PlacementRow,
    SegmentRow,
    SourceRow,
)
from sightline.store.schema_duplicates import PictureHashRow, SamePictureRow
from sightline.store.schema_fields import FieldValueRow, MetadataFieldRow
from sightline.store.schema_texts import TextRow
from sightline.store.schema_upkeep import LooseFileRow, PurgeRow, ReleasedBlobRow, SingletonRow
from sightline.store.schema_work import JobRow, TaskItemRow, TaskRow

CHUNK = 900
"""Values in one IN list: below the 999 parameters that the oldest SQLite builds allow."""

Item = TypeVar("Item")

COLLECTIONS = cast("Table", CollectionRow.__table__)
FEATURE_SETS = cast("Table", FeatureSetRow.__table__)
FIELD_VALUES = cast("Table", FieldValueRow.__table__)
GENERATIONS = cast("Table", GenerationRow.__table__)
IMAGES = cast("Table", ImageRow.__table__)
JOBS = cast("Table", JobRow.__table__)
LOOSE_FILES = cast("Table", LooseFileRow.__table__)
METADATA_FIELDS = cast("Table", MetadataFieldRow.__table__)
PICTURE_HASHES = cast("Table", PictureHashRow.__table__)
PLACEMENTS = cast("Table", PlacementRow.__table__)
PURGES = cast("Table", PurgeRow.__table__)
RELEASED_BLOBS = cast("Table", ReleasedBlobRow.__table__)
SAME_PICTURES = cast("Table", SamePictureRow.__table__)
SEGMENTS = cast("Table", SegmentRow.__table__)
SINGLETONS = cast("Table", SingletonRow.__table__)
SOURCES = cast("Table", SourceRow.__table__)
TASK_ITEMS = cast("Table", TaskItemRow.__table__)
TASKS = cast("Table", TaskRow.__table__)
TEXTS = cast("Table", TextRow.__table__)


def chunks(items: Iterable[Item], size: int = CHUNK) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def among(column: ColumnElement[int], keys: Sequence[int], dialect: str) -> ColumnElement[bool]:
    """``column`` is one of any number of keys, which travel as one parameter."""
    if dialect == "postgresql":
        return column == any_(literal(list(keys), ARRAY(BigInteger)))
    listed = func.json_each(literal(json.dumps(list(keys)), Text())).table_valued("value")
    return column.in_(select(listed.c.value))


def is_in(state: str) -> ColumnElement[bool]:
    """An image's state, written out: the plan that PostgreSQL keeps for any state has no partial index."""
    return cast("ColumnElement[bool]", text(f"images.state = '{state}'"))


def plain_keys(keys: Iterable[SupportsInt]) -> list[int]:
    """SQLite's driver would silently store and compare a NumPy integer as bytes."""
    return [int(key) for key in keys]


# What is selected for a record: columns in the order of its fields, so that a row needs no names.
SELECT_COLLECTIONS: Select[Any] = select(
    COLLECTIONS.c.id,
    COLLECTIONS.c.name,
    FEATURE_SETS.c.model,
    FEATURE_SETS.c.revision,
    FEATURE_SETS.c.fingerprint,
    FEATURE_SETS.c.num_query_tokens,
    FEATURE_SETS.c.joint_dim,
    COLLECTIONS.c.version,
    COLLECTIONS.c.created_at,
    FEATURE_SETS.c.id,
    COLLECTIONS.c.index_kind,
).join(FEATURE_SETS, (FEATURE_SETS.c.collection_id == COLLECTIONS.c.id) & FEATURE_SETS.c.serving)
SELECT_IMAGES: Select[Any] = select(
    *(IMAGES.c[field.name] for field in fields(Image) if field.name != "source"), SOURCES.c.address
).outerjoin(SOURCES, SOURCES.c.id == IMAGES.c.source_id)
SELECT_SEGMENTS: Select[Any] = select(*(SEGMENTS.c[field.name] for field in fields(Segment)))
SELECT_GENERATIONS: Select[Any] = select(*(GENERATIONS.c[field.name] for field in fields(Generation)))


def collection_record(row: Row[*tuple[Any, ...]]) -> Collection:
    return Collection(*row)


def image_record(row: Row[*tuple[Any, ...]]) -> Image:
    return Image(*row)


def job_record(row: Row[Any]) -> Job:
    return Job(**row._mapping)


def task_record(row: Row[Any]) -> Task:
    return Task(**row._mapping)


def segment_record(row: Row[*tuple[Any, ...]]) -> Segment:
    return Segment(*row)


def generation_record(row: Row[Any]) -> Generation:
    values = dict(row._mapping)
    return Generation(**{**values, "covered": tuple(values["covered"])})


LIVING = select(COLLECTIONS.c.id).where(COLLECTIONS.c.trashed_at.is_(None))
"""Ids of the collections that are not in the trash."""
_NAMED = SELECT_COLLECTIONS.where(COLLECTIONS.c.name == bindparam("name"), COLLECTIONS.c.trashed_at.is_(None))


def collection_named(connection: Connection, name: str) -> Collection:
    """The collection with this name; NotFoundError."""
    row = connection.execute(_NAMED, {"name": name}).one_or_none()
    if row is None:
        raise NoCollectionError(name)
    return collection_record(row)


def lock_collection(connection: Connection, collection_id: int) -> bool:
    """Holds the collection's row until the transaction ends; False when it does not exist (any more).

    One in the trash does: what a worker or the builder had begun goes on there.
    """
    row = select(CollectionRow.id).where(CollectionRow.id == collection_id)
    return connection.execute(row.with_for_update(key_share=True)).first() is not None


def require_collection(connection: Connection, collection_id: int) -> None:
    """Locks a collection that is not in the trash; NotFoundError."""
    living = lock_collection(connection, collection_id) and connection.scalar(
        LIVING.where(COLLECTIONS.c.id == collection_id)
    )
    if not living:
        raise NotFoundError(f"There is no collection with number {collection_id}.")


def next_version(connection: Connection, collection_id: int) -> int:
    """The version that the caller's `bump_version` makes: what it changes is not seen before.

    The collection is locked.
    """
    version = select(COLLECTIONS.c.version).where(COLLECTIONS.c.id == bindparam("collection"))
    return int(connection.execute(version, {"collection": collection_id}).scalar_one()) + 1


def bump_version(connection: Connection, collection_id: int) -> None:
    """Called in every transaction that changes what a search can see."""
    statement = update(CollectionRow).where(CollectionRow.id == collection_id)
    connection.execute(statement.values(version=CollectionRow.version + 1))


def update_many(connection: Connection, statement: Any, parameters: Sequence[dict[str, Any]]) -> None:
    """One prepared statement for many parameter sets; an empty list is no statement at all."""
    if parameters:
        connection.execute(statement, list(parameters))
