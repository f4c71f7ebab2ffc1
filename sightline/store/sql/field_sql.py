"""One condition on metadata as queries of `field_values`; together they select the keys that fulfil it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, select

from sightline.store.conditions import Condition, Contains, Exists, Filter, In, Range
from sightline.store.field_values import MAX_TEXT, FieldKind
from sightline.store.moments import instant_key
from sightline.store.schema import ImageRow
from sightline.store.sql.filter_sql import COMPARE, all_forms, condition, contains
from sightline.store.sql.rows import FIELD_VALUES

_VALUES = FIELD_VALUES.c
_OF_LONG = {"gt": "gte", "gte": "gte", "lt": "lt", "lte": "lt"}
"""How the beginning of a longer text is compared with a bound no longer than it: they are never equal."""


def key_queries(clause: Condition, ids: Sequence[int], dialect: str) -> list[Select[int]]:
    """``ids``: those of the condition's fields. What is absent is found as what is there."""
    here = _VALUES.field_id.in_(ids)
    if isinstance(clause, Exists):
        return [select(_VALUES.key).where(here)]
    if isinstance(clause, In):
        found = _equal(clause)
    elif isinstance(clause, Contains):
        found = [_of(FieldKind.TEXT, contains(_VALUES.text, clause.text, dialect))]
    else:
        found = _within(clause)
    queries = [select(_VALUES.key).where(here, one) for one in found]
    return [*queries, _asked_of_rows(clause, here, dialect)] if _is_of_whole_texts(clause) else queries


def _of(kind: FieldKind, *matches: ColumnElement[bool]) -> ColumnElement[bool]:
    """Texts have no number: SQLite must be told, to find them by their index."""
    texts = kind in (FieldKind.TEXT, FieldKind.LONG, FieldKind.INSTANT)
    also = [_VALUES.number.is_(None)] if texts else []
    found: ColumnElement[bool] = _VALUES.kind == int(kind)
    for one in (*also, *matches):
        found = found & one
    return found


def _equal(clause: In) -> list[ColumnElement[bool]]:
    flags = [int(value) for value in clause.values if isinstance(value, bool)]
    numbers = [value for value in clause.values if not isinstance(value, bool | str)]
    texts = [form for form in all_forms(_texts(clause)) if len(form) <= MAX_TEXT]
    instants = [instant_key(text) for text in clause.instants]
    found = [
        (flags, _of(FieldKind.FLAG, _VALUES.number.in_(flags))),
        (numbers, _of(FieldKind.NUMBER, _VALUES.number.in_(numbers))),
        (texts, _of(FieldKind.TEXT, _VALUES.text.in_(texts))),
        (instants, _of(FieldKind.INSTANT, _VALUES.text.in_(instants))),
    ]
    return [one for values, one in found if values]


def _within(clause: Range) -> list[ColumnElement[bool]]:
    if clause.of_instants:
        return [_of(FieldKind.INSTANT, *_compared(clause, _VALUES.text, instant_key))]
    if not isinstance(clause.bounds[0][1], str):
        return [_of(FieldKind.NUMBER, *_compared(clause, _VALUES.number, lambda bound: bound))]
    found = [_of(FieldKind.TEXT, *_compared(clause, _VALUES.text, lambda bound: bound))]
    if not _is_of_whole_texts(clause):
        long = [COMPARE[_OF_LONG[name]](_VALUES.text, bound) for name, bound in clause.bounds]
        found.append(_of(FieldKind.LONG, *long))
    return found


def _compared(
    clause: Range, subject: ColumnElement[Any], value: Callable[[Any], Any]
) -> list[ColumnElement[bool]]:
    return [COMPARE[name](subject, value(bound)) for name, bound in clause.bounds]


def _is_of_whole_texts(clause: Condition) -> bool:
    """Whether the beginning of a long text does not tell if it fits."""
    if isinstance(clause, Contains):
        return True
    if isinstance(clause, In):
        return any(len(form) > MAX_TEXT for form in all_forms(_texts(clause)))
    return isinstance(clause, Range) and any(
        isinstance(bound, str) and len(bound) > MAX_TEXT for _, bound in clause.bounds
    )


def _texts(clause: In) -> list[str]:
    return [value for value in clause.values if isinstance(value, str)]


def _asked_of_rows(clause: Condition, here: ColumnElement[bool], dialect: str) -> Select[int]:
    """Images that have a long text there: their metadata says whether they fit."""
    long = select(_VALUES.key).where(here, _of(FieldKind.LONG))
    return select(ImageRow.key).where(ImageRow.key.in_(long), condition(Filter(must=(clause,)), dialect))
