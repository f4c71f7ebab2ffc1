"""Collections."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from sightline.errors import InputError, ModelMismatchError
from sightline.store.records import Collection
from sightline.store.schema import (
    CollectionRow,
    GenerationRow,
    ImageRow,
    JobRow,
    JobSeenRow,
    SegmentRow,
    TaskRow,
)
from sightline.store.sql.rows import COLLECTIONS, collection_named, collection_record
from sightline.store.values import check_text


@dataclass(frozen=True)
class NewCollection:
    name: str
    model: str
    revision: str | None
    fingerprint: str
    num_query_tokens: int
    joint_dim: int


def create(connection: Connection, now: float, new: NewCollection) -> Collection:
    if not new.name:
        raise InputError("A collection needs a name")
    check_text("The collection's name", new.name)
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {**vars(new), "version": 0, "created_at": now}
    connection.execute(insert(COLLECTIONS).values(values).on_conflict_do_nothing(index_elements=["name"]))
    found = collection_named(connection, new.name)
    if found.fingerprint != new.fingerprint:
        raise ModelMismatchError(
            f"Collection {new.name!r} was made with model {found.model!r} ({found.fingerprint[:12]}), "
            f"not with {new.model!r} ({new.fingerprint[:12]}): use that model or another collection"
        )
    return found


def every(connection: Connection) -> list[Collection]:
    return [
        collection_record(row) for row in connection.execute(select(COLLECTIONS).order_by(CollectionRow.name))
    ]


def counts(connection: Connection, name: str) -> dict[str, int]:
    collection = collection_named(connection, name)
    states = (
        select(ImageRow.state, func.count())
        .where(ImageRow.collection_id == collection.id)
        .group_by(ImageRow.state)
    )
    found: dict[str, int] = dict(connection.execute(states).all())
    segments = select(func.count(), func.coalesce(func.sum(SegmentRow.bytes), 0)).where(
        SegmentRow.collection_id == collection.id, SegmentRow.state == "published"
    )
    number, size = connection.execute(segments).one()
    images = {state: found.get(state, 0) for state in ("live", "pending", "failed", "buried")}
    return {**images, "segments": number, "bytes": int(size)}


def remove(connection: Connection, name: str) -> None:
    """Rows only, children first. A worker that holds a lease finds its task gone and publishes nothing."""
    collection = collection_named(connection, name)
    connection.execute(select(CollectionRow.id).where(CollectionRow.id == collection.id).with_for_update())
    jobs = select(JobRow.id).where(JobRow.collection_id == collection.id)
    connection.execute(delete(JobSeenRow).where(JobSeenRow.job_id.in_(jobs)))
    for table in (GenerationRow, ImageRow, SegmentRow, TaskRow, JobRow):
        connection.execute(delete(table).where(table.collection_id == collection.id))
    connection.execute(delete(CollectionRow).where(CollectionRow.id == collection.id))
