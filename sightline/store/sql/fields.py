"""The values of metadata fields, kept in line with the metadata of what searches find or may find again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Delete, Select, delete, exists, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from sightline.store.field_values import FieldValue, field_values
from sightline.store.schema import ImageRow
from sightline.store.schema_fields import FieldValueRow, MetadataFieldRow
from sightline.store.sql.rows import FIELD_VALUES, METADATA_FIELDS, chunks, update_many

AT_ONCE = 500
"""Images whose metadata is in memory together."""


def write_values(connection: Connection, collection_id: int, keys: Sequence[int]) -> None:
    """The values of images that have none yet, as their metadata is now. The collection is locked."""
    query = select(ImageRow.key, ImageRow.meta).where(ImageRow.collection_id == collection_id)
    ids: dict[str, int] = {}
    for chunk in chunks(keys, AT_ONCE):
        rows = connection.execute(query.where(ImageRow.key.in_(chunk)).order_by(ImageRow.key)).all()
        found = [(key, value) for key, metadata in rows for value in field_values(metadata)]
        new = {value.path for _, value in found} - ids.keys()
        ids.update(_field_ids(connection, collection_id, sorted(new)))
        values = [_row(key, ids[value.path], value) for key, value in found]
        update_many(connection, insert(FIELD_VALUES), values)


def rewrite_values(connection: Connection, collection_id: int, keys: Sequence[int]) -> None:
    """As `write_values`, in place of the values that there were."""
    forget_values(connection, keys)
    write_values(connection, collection_id, keys)


def forget_values(connection: Connection, keys: Sequence[int]) -> None:
    """Nobody finds these images any more."""
    for chunk in chunks(keys):
        connection.execute(delete(FieldValueRow).where(FieldValueRow.key.in_(chunk)))


def forgetting(keys: Select[int]) -> Delete:
    """The statement that forgets the values of all keys that are selected."""
    return delete(FieldValueRow).where(FieldValueRow.key.in_(keys))


def forget_unused_fields(connection: Connection, collection_ids: Iterable[int]) -> None:
    """Names that no metadata has any more: they may tell something of what was purged."""
    used = exists().where(FieldValueRow.field_id == MetadataFieldRow.id)
    for number in sorted(collection_ids):
        connection.execute(delete(MetadataFieldRow).where(MetadataFieldRow.collection_id == number, ~used))


def field_ids(connection: Connection, collection_id: int, paths: Sequence[str]) -> dict[str, int]:
    """path → id of each that the collection has."""
    query = select(METADATA_FIELDS.c.path, METADATA_FIELDS.c.id)
    found: dict[str, int] = {}
    for chunk in chunks(paths):
        here = (METADATA_FIELDS.c.collection_id == collection_id, METADATA_FIELDS.c.path.in_(chunk))
        found.update((path, number) for path, number in connection.execute(query.where(*here)))
    return found


def _field_ids(connection: Connection, collection_id: int, paths: Sequence[str]) -> dict[str, int]:
    """The same; those that it does not have yet are written down."""
    found = field_ids(connection, collection_id, paths)
    new = [path for path in paths if path not in found]
    if not new:
        return found
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    rows = [{"collection_id": collection_id, "path": path} for path in new]
    update_many(connection, upsert(METADATA_FIELDS).on_conflict_do_nothing(), rows)
    return found | field_ids(connection, collection_id, new)


def _row(key: int, field_id: int, value: FieldValue) -> dict[str, Any]:
    return {
        "key": key,
        "field_id": field_id,
        "place": value.place,
        "kind": int(value.kind),
        "number": value.number,
        "text": value.text,
    }


# --- what a check compares --------------------------------------------------------------------------------


def differing(connection: Connection) -> Iterator[int]:
    """Keys whose values are not those of their metadata; a page of images in memory at a time."""
    images = select(ImageRow.key, ImageRow.meta).where(ImageRow.state.in_(("live", "trashed")))
    page = images.order_by(ImageRow.key).limit(AT_ONCE)
    after = 0
    while rows := connection.execute(page.where(ImageRow.key > after)).all():
        there = _values_between(connection, after, rows[-1][0])
        after = rows[-1][0]
        for key, metadata in rows:
            if there.pop(key, set()) != set(_plain(field_values(metadata))):
                yield key
        yield from sorted(there)
    last = select(FieldValueRow.key).where(FieldValueRow.key > after).distinct()
    yield from connection.scalars(last.order_by(FieldValueRow.key))


def _values_between(connection: Connection, after: int, last: int) -> dict[int, set[tuple[Any, ...]]]:
    columns = (FieldValueRow.place, FieldValueRow.kind, FieldValueRow.number, FieldValueRow.text)
    query = select(FieldValueRow.key, MetadataFieldRow.path, *columns).join(MetadataFieldRow)
    found: dict[int, set[tuple[Any, ...]]] = {}
    for key, *value in connection.execute(query.where(FieldValueRow.key > after, FieldValueRow.key <= last)):
        found.setdefault(key, set()).add(tuple(value))
    return found


def _plain(values: Iterable[FieldValue]) -> Iterator[tuple[Any, ...]]:
    return ((path, place, int(kind), number, text) for path, place, kind, number, text in values)
