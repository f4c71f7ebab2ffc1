"""Instants in SQL: what a text with date, time and zone means, as a number that SQL compares."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    Integer,
    Numeric,
    Text,
    case,
    cast,
    func,
    literal,
    literal_column,
)

from sightline.store.moments import PATTERN, instant, instant_key


def sqlite_instant(text: ColumnElement[Any]) -> ColumnElement[Any]:
    """What the text means, to be compared with ``sqlite_bound``; NULL for another text."""
    return func.sightline_instant(text, type_=Text())


def sqlite_bound(text: str) -> ColumnElement[Any]:
    return literal(instant_key(text), Text())


def is_instant(text: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether PostgreSQL may ask what the text means: other texts are an error there."""
    return text.collate("C").bool_op("~")(literal(PATTERN, Text()))


def postgres_instant(text: ColumnElement[Any]) -> ColumnElement[Any]:
    """As ``sightline.store.moments.instant``, by arithmetic: PostgreSQL's times keep microseconds."""
    day = cast(func.substr(text, 1, 10), Date) - literal_column("date '0001-01-01'", Date()) + 1
    clock = 3_600 * _digits(text, 12) + 60 * _digits(text, 15) + _digits(text, 18)
    fraction = cast(func.coalesce(func.substring(text, literal("[.][0-9]+", Text())), "0"), Numeric)
    zone = func.right(text, 6)
    seconds = 3_600 * _digits(zone, 2) + 60 * _digits(zone, 5)
    offset = case(
        (func.upper(func.right(text, 1)) == "Z", 0),
        (func.substr(zone, 1, 1) == "-", -seconds),
        else_=seconds,
    )
    return 86_400 * cast(day, Numeric) + clock - offset + fraction


def postgres_bound(text: str) -> ColumnElement[Any]:
    return literal(instant(text), Numeric())


def _digits(text: ColumnElement[Any], start: int) -> ColumnElement[int]:
    return cast(func.substr(text, start, 2), Integer)
