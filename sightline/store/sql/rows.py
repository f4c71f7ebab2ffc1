"""From rows to records, and the few helpers that all statements share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, SupportsInt, TypeVar, cast

from sqlalchemy import Connection, Row, Table, bindparam, select, update

from sightline.errors import NotFoundError
from sightline.store.records import Collection, Generation, Image, Job, Segment, Task
from sightline.store.schema import CollectionRow, GenerationRow, ImageRow, JobRow, SegmentRow, TaskRow

CHUNK = 900
"""Values in one IN list: below the 999 parameters that the oldest SQLite builds allow."""

Item = TypeVar("Item")

COLLECTIONS = cast("Table", CollectionRow.__table__)
GENERATIONS = cast("Table", GenerationRow.__table__)
IMAGES = cast("Table", ImageRow.__table__)
JOBS = cast("Table", JobRow.__table__)
SEGMENTS = cast("Table", SegmentRow.__table__)
TASKS = cast("Table", TaskRow.__table__)


def chunks(items: Iterable[Item], size: int = CHUNK) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def plain_keys(keys: Iterable[SupportsInt]) -> list[int]:
    """SQLite's driver would silently store and compare a NumPy integer as bytes."""
    return [int(key) for key in keys]


def collection_record(row: Row[Any]) -> Collection:
    return Collection(**row._mapping)


def image_record(row: Row[*tuple[Any, ...]]) -> Image:
    """From a row of the whole table, whose columns stand in the order of the record's fields (tested)."""
    return Image(*row)


def job_record(row: Row[Any]) -> Job:
    return Job(**row._mapping)


def task_record(row: Row[Any]) -> Task:
    return Task(**row._mapping)


def segment_record(row: Row[Any]) -> Segment:
    return Segment(**row._mapping)


def generation_record(row: Row[Any]) -> Generation:
    values = dict(row._mapping)
    return Generation(**{**values, "covered": tuple(values["covered"])})


_NAMED = select(COLLECTIONS).where(CollectionRow.name == bindparam("name"))


def collection_named(connection: Connection, name: str) -> Collection:
    row = connection.execute(_NAMED, {"name": name}).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no collection {name!r}")
    return collection_record(row)


def lock_collection(connection: Connection, collection_id: int) -> bool:
    """Holds the collection's row until the transaction ends; False when it does not exist (any more)."""
    row = select(CollectionRow.id).where(CollectionRow.id == collection_id)
    return connection.execute(row.with_for_update(key_share=True)).first() is not None


def require_collection(connection: Connection, collection_id: int) -> None:
    if not lock_collection(connection, collection_id):
        raise NotFoundError(f"There is no collection with number {collection_id}")


def bump_version(connection: Connection, collection_id: int) -> None:
    """Called in every transaction that changes what a search can see."""
    statement = update(CollectionRow).where(CollectionRow.id == collection_id)
    connection.execute(statement.values(version=CollectionRow.version + 1))


def update_many(connection: Connection, statement: Any, parameters: Sequence[dict[str, Any]]) -> None:
    """One prepared statement for many parameter sets; an empty list is no statement at all."""
    if parameters:
        connection.execute(statement, list(parameters))
