"""Where images come from: addresses of sources, written down once for each collection."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sightline.errors import InputError
from sightline.store.records import UNKNOWN
from sightline.store.schema import ImageRow, SourceRow
from sightline.store.sql.rows import (
    SOURCES,
    bump_version,
    chunks,
    collection_named,
    require_collection,
    update_many,
)
from sightline.store.values import check_source


def source_ids(
    connection: Connection, now: float, collection_id: int, given: Iterable[str | None]
) -> dict[str, int]:
    """address → id of every source that is named; new ones are written down."""
    addresses = sorted({address for address in given if address is not None})
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = [{"collection_id": collection_id, "address": name, "created_at": now} for name in addresses]
    update_many(connection, upsert(SOURCES).on_conflict_do_nothing(), new)
    found: dict[str, int] = {}
    for chunk in chunks(addresses):
        where = (SOURCES.c.collection_id == collection_id, SOURCES.c.address.in_(chunk))
        query = select(SOURCES.c.address, SOURCES.c.id).where(*where)
        found.update((address, number) for address, number in connection.execute(query))
    return found


def known(connection: Connection, collection: str) -> list[str]:
    """The addresses of a collection's sources, in order; NotFoundError."""
    here = SourceRow.collection_id == collection_named(connection, collection).id
    return list(connection.scalars(select(SourceRow.address).where(here).order_by(SourceRow.address)))


def move(connection: Connection, now: float, collection: str, old: str, new: str) -> int:
    """The images of source ``old`` are those of ``new`` from now on; how many live ones.

    ``old`` may be ``unknown:``: those that came before sources were kept. Raises NotFoundError, and
    InputError when no image ever came from there.
    """
    check_source(new)
    collection_id = collection_named(connection, collection).id
    require_collection(connection, collection_id)
    here = ImageRow.collection_id == collection_id
    moved: list[ColumnElement[bool]] = [here, ImageRow.source_id.is_(None)]
    if old != UNKNOWN:
        found = source_id(connection, collection_id, old)
        if found is None:
            raise InputError(
                f"No image of collection {collection!r} came from {old}: name a source as it was."
            )
        moved = [here, ImageRow.source_id == found]
    target = source_ids(connection, now, collection_id, [new])[new]
    statement = update(ImageRow).where(*moved).values(source_id=target).returning(ImageRow.state)
    states = list(connection.scalars(statement))
    bump_version(connection, collection_id)
    return states.count("live")


def source_id(connection: Connection, collection_id: int, address: str) -> int | None:
    """The id of a source that is written down."""
    where = (SourceRow.collection_id == collection_id, SourceRow.address == address)
    return connection.scalar(select(SourceRow.id).where(*where))
