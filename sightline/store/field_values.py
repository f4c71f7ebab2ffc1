"""What filters find in metadata: one value for each scalar in it, by the path of names that leads there.

``{"gps": {"lat": 1.5}, "tags": ["a", "b"]}`` has ``gps`` (which exists), ``gps.lat`` (1.5) and ``tags``
(twice). A null is nothing, and neither are elements of lists that are no scalars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from sightline.store.moments import instant_key

MAX_PATH: Final = 200
"""Longer paths have no values: PostgreSQL refuses index entries beyond about 2,700 bytes."""
MAX_TEXT: Final = 256
"""What is kept of a text, in characters; the rest stands in the metadata alone."""


class FieldKind(IntEnum):
    """What a value is; numbers of the database, which never change."""

    OTHER = 0
    """An object, or a list without scalars: it exists."""
    FLAG = 1
    """``number`` is 1 for true, 0 for false."""
    NUMBER = 2
    TEXT = 3
    LONG = 4
    """``text`` is the beginning of a longer one."""
    INSTANT = 5
    """What a text with a date, time and zone means, beside the text: ``text`` is its ``instant_key``."""


class FieldValue(NamedTuple):
    """``place`` tells the values of one path apart."""

    path: str
    place: int
    kind: FieldKind
    number: int | float | None
    text: str | None


def field_values(metadata: Mapping[str, Any]) -> Iterator[FieldValue]:
    """All values of checked metadata that a filter can name."""
    yield from _of_object(metadata, "")


def _of_object(members: Mapping[str, Any], prefix: str) -> Iterator[FieldValue]:
    for name, value in members.items():
        path = prefix + name
        if value is None or not name or "." in name or len(path) > MAX_PATH:  # no filter says such a name
            continue
        elements = value if isinstance(value, list) else (value,)
        place = 0
        for element in elements:
            for kind, number, text in _scalar(element):
                yield FieldValue(path, place, kind, number, text)
                place += 1
        if place == 0:
            yield FieldValue(path, 0, FieldKind.OTHER, None, None)
        if isinstance(value, dict):
            yield from _of_object(value, path + ".")


def _scalar(value: object) -> Iterator[tuple[FieldKind, int | float | None, str | None]]:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            yield FieldKind.LONG, None, value[:MAX_TEXT]
            return
        yield FieldKind.TEXT, None, value
        if (meant := instant_key(value)) is not None:
            yield FieldKind.INSTANT, None, meant
    elif isinstance(value, bool):
        yield FieldKind.FLAG, int(value), None
    elif isinstance(value, int | float):
        yield FieldKind.NUMBER, value, None
