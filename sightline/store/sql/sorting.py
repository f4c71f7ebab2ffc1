"""Values by which found images are put in order (`sightline.store.sorting`)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, select

from sightline.store.field_values import FieldKind
from sightline.store.moments import instant_key
from sightline.store.schema_fields import FieldValueRow
from sightline.store.sorting import Sort, SortValue, best_of
from sightline.store.sql.fields import field_ids
from sightline.store.sql.filter_sql import paths
from sightline.store.sql.rows import FIELD_VALUES, IMAGES, among, chunks, plain_keys

AT_ONCE = 5_000
"""Keys that are asked for together."""
_PLACES = {FieldKind.FLAG: 0, FieldKind.NUMBER: 1, FieldKind.INSTANT: 2, FieldKind.TEXT: 3, FieldKind.LONG: 3}
"""Where values of a kind stand among those of the others; what only exists has none."""


def sort_values(
    connection: Connection, collection_id: int, keys: Sequence[int], sort: Sort
) -> dict[int, SortValue]:
    """The value of each of these images, whatever its state; without those that have none."""
    found: dict[int, SortValue] = {}
    ids = _field_ids(connection, collection_id, sort)
    for chunk in chunks(plain_keys(keys), AT_ONCE):
        if sort.field.kind != "metadata":
            found.update(_created(connection, collection_id, chunk))
        elif ids:
            found.update(_of_metadata(connection, chunk, ids, sort.down))
    return found


def _field_ids(connection: Connection, collection_id: int, sort: Sort) -> list[int]:
    if sort.field.kind != "metadata":
        return []
    named = [".".join(path) for path in paths(sort.field)]
    return sorted(field_ids(connection, collection_id, named).values())


def _created(connection: Connection, collection_id: int, keys: Sequence[int]) -> dict[int, SortValue]:
    here = (IMAGES.c.collection_id == collection_id, _among(connection, IMAGES.c.key, keys))
    rows = connection.execute(select(IMAGES.c.key, IMAGES.c.created_at).where(*here))
    return {key: (_PLACES[FieldKind.NUMBER], created) for key, created in rows}


def _of_metadata(
    connection: Connection, keys: Sequence[int], ids: Sequence[int], down: bool
) -> dict[int, SortValue]:
    columns = (FieldValueRow.key, FieldValueRow.kind, FieldValueRow.number, FieldValueRow.text)
    here = (FieldValueRow.field_id.in_(ids), _among(connection, FIELD_VALUES.c.key, keys))
    values: dict[int, list[SortValue]] = {}
    for key, kind, number, text in connection.execute(select(*columns).where(*here)):
        if (value := _value(kind, number, text)) is not None:
            values.setdefault(key, []).append(value)
    return {key: best_of(several, down) for key, several in values.items()}


def _value(kind: int, number: float | None, text: str | None) -> SortValue | None:
    place = _PLACES.get(FieldKind(kind))
    if place is None or (kind == FieldKind.TEXT and instant_key(text) is not None):
        return None  # what a text with date, time and zone means is a value of its own
    value = text if number is None else number
    return None if value is None else (place, value)


def _among(connection: Connection, column: ColumnElement[int], keys: Sequence[int]) -> ColumnElement[bool]:
    return among(column, keys, connection.dialect.name)
