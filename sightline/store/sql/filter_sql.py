"""Filters as SQL, with the same meaning on SQLite and PostgreSQL. Values and names travel as parameters only.

Every clause is true or false, never NULL, so that NOT means what ``must_not`` says.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from sqlalchemy import (
    REAL,
    ColumnElement,
    Double,
    Numeric,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from sightline.store.filters import Bound, Condition, Contains, Exists, Field, Filter, In, Range, Scalar
from sightline.store.sql.rows import IMAGES

Truth = ColumnElement[bool]

_COLUMNS = {
    "id": IMAGES.c.image_id,
    "caption": IMAGES.c.caption,
    "uri": IMAGES.c.uri,
    "sha256": IMAGES.c.sha256,
    "width": IMAGES.c.width,
    "height": IMAGES.c.height,
    "bytes": IMAGES.c.bytes,
    "created_at": IMAGES.c.created_at,
}
_COMPARE: dict[str, Callable[[Any, Any], Truth]] = {
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
}


def condition(filter: Filter, dialect: str) -> Truth:
    """The filter as a condition on ``images``; ``dialect`` is "sqlite" or "postgresql"."""
    clauses = [_clause(clause, dialect) for clause in filter.must]
    clauses += [not_(_clause(clause, dialect)) for clause in filter.must_not]
    if filter.should:
        clauses.append(or_(*(_clause(clause, dialect) for clause in filter.should)))
    return and_(true(), *clauses)


def _clause(clause: Condition | Filter, dialect: str) -> Truth:
    if isinstance(clause, Filter):
        return condition(clause, dialect)
    if clause.field.kind != "metadata":
        return func.coalesce(_on_column(clause, dialect), false())
    return _on_sqlite_json(clause) if dialect == "sqlite" else _on_jsonb(clause)


# columns


def _on_column(clause: Condition, dialect: str) -> Truth:
    subject = _COLUMNS[clause.field.name]
    if isinstance(clause, Exists):
        return subject.is_not(None) if clause.wanted else subject.is_(None)
    if isinstance(clause, In):
        return _column_in(subject, clause, dialect)
    if isinstance(clause, Contains):
        return _contains(subject, clause.text, dialect)
    return _within(subject, clause, dialect, lambda bound: _column_value(clause.field, bound, dialect))


def _column_in(subject: ColumnElement[Any], clause: In, dialect: str) -> Truth:
    if clause.field.kind == "text" or dialect == "sqlite":
        return subject.in_(clause.values)
    if clause.field.name == "created_at":
        return subject.in_([float(value) for value in clause.values])
    return cast(subject, Numeric).in_([Decimal(repr(value)) for value in clause.values])


def _column_value(field: Field, value: Scalar, dialect: str) -> Any:
    """A bound on a column of integers may be a fraction, and must not be rounded to an integer."""
    if isinstance(value, str):
        return value
    if field.name == "created_at":
        return literal(float(value), Double())
    return literal(value) if dialect == "sqlite" else _numeric(value)


# what both databases share, given an expression of the right type


def _within(subject: ColumnElement[Any], clause: Range, dialect: str, value: Callable[[Bound], Any]) -> Truth:
    if dialect == "postgresql" and isinstance(clause.bounds[0][1], str):
        subject = subject.collate("C")  # by code point, as SQLite and Python compare
    return and_(*(_COMPARE[name](subject, value(bound)) for name, bound in clause.bounds))


def _contains(subject: ColumnElement[Any], text: str, dialect: str) -> Truth:
    """A pattern of letter classes ("[aA]"): what a letter's other case is does not depend on the database."""
    if dialect == "sqlite":
        return subject.bool_op("GLOB")("*" + "".join(map(_glob_class, text)) + "*")
    return subject.collate("C").bool_op("~")("".join(map(_regex_class, text)))


def _glob_class(character: str) -> str:
    return f"[{''.join(sorted(letter_cases(character)))}]" if character != "^" else "^"


def _regex_class(character: str) -> str:
    if character in r".*+?()[]{}|^$\\":
        return "\\" + character
    variants = sorted(letter_cases(character))
    return variants[0] if len(variants) == 1 else f"[{''.join(variants)}]"


def letter_cases(character: str) -> frozenset[str]:
    """All characters that are the same letter: those with the same single lower-case character."""
    return _cases_by_lower().get(_lower(character), frozenset({character}))


def _lower(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 else character


@cache
def _cases_by_lower() -> dict[str, frozenset[str]]:
    """lower-case letter → its cases, where there are several. Beyond U+1F000 no letter has a case."""
    found: dict[str, set[str]] = {}
    for character in map(chr, range(0x1F000)):
        if _lower(character) != character:
            found.setdefault(_lower(character), {_lower(character)}).add(character)
    return {lower: frozenset(cases) for lower, cases in found.items()}


# metadata in SQLite: json_each gives one row per element of a list, and one for a scalar


def _on_sqlite_json(clause: Condition) -> Truth:
    path = "$" + "".join(f'."{name}"' for name in clause.field.path)
    kind = func.coalesce(func.json_type(IMAGES.c.metadata, path), "null")
    if isinstance(clause, Exists):
        return kind != "null" if clause.wanted else kind == "null"
    element = func.json_each(IMAGES.c.metadata, path).table_valued("atom", "type")
    matches = _sqlite_element(clause, element.c.atom, element.c.type)
    return and_(kind != "object", exists(select(literal_column("1")).select_from(element).where(matches)))


def _sqlite_element(
    clause: In | Range | Contains, atom: ColumnElement[Any], kind: ColumnElement[Any]
) -> Truth:
    number, text = kind.in_(["integer", "real"]), kind == "text"
    if isinstance(clause, Contains):
        return and_(text, _contains(atom, clause.text, "sqlite"))
    if isinstance(clause, Range):
        same_kind = text if isinstance(clause.bounds[0][1], str) else number
        return and_(same_kind, _within(atom, clause, "sqlite", _sqlite_value))
    texts = [value for value in clause.values if isinstance(value, str)]
    flags = ["true" if value else "false" for value in clause.values if isinstance(value, bool)]
    integers = [value for value in clause.values if isinstance(value, int) and not isinstance(value, bool)]
    fractions = [_sqlite_value(value) for value in clause.values if isinstance(value, float)]
    equal = or_(atom.in_(integers), atom.in_(fractions))
    return or_(and_(text, atom.in_(texts)), and_(number, equal), kind.in_(flags))


def _sqlite_value(value: Bound) -> Any:
    """A fraction travels as its digits, so that SQLite reads it exactly as it read the stored ones."""
    return cast(literal(repr(value)), REAL) if isinstance(value, float) else literal(value)


# metadata in PostgreSQL


def _on_jsonb(clause: Condition) -> Truth:
    value: Any = IMAGES.c.metadata
    for name in clause.field.path:
        # As text: "0" is a name and no position.
        value = value.op("->", return_type=JSONB())(cast(name, Text))
    kind = func.coalesce(func.jsonb_typeof(value), "null")
    if isinstance(clause, Exists):
        return kind != "null" if clause.wanted else kind == "null"
    elements = case((kind == "array", value), else_=func.jsonb_build_array(value))
    element = func.jsonb_array_elements(elements).table_valued(column("value", JSONB()), name="element")
    matches = _jsonb_element(clause, element.c.value)
    return exists(select(literal_column("1")).select_from(element).where(matches))


def _jsonb_element(clause: In | Range | Contains, element: ColumnElement[Any]) -> Truth:
    kind = func.jsonb_typeof(element)
    content = element.op("#>>", return_type=Text())(cast(literal("{}", Text()), ARRAY(Text)))
    if isinstance(clause, In):
        return element.in_(bindparam(None, clause.values, type_=JSONB(), expanding=True))
    if isinstance(clause, Contains):
        return case((kind == "string", _contains(content, clause.text, "postgresql")), else_=false())
    if isinstance(clause.bounds[0][1], str):
        texts = _within(content, clause, "postgresql", lambda bound: literal(bound, Text()))
        return case((kind == "string", texts), else_=false())
    numbers = _within(cast(content, Numeric), clause, "postgresql", _numeric)
    # CASE, not AND: the cast must never see anything but a number.
    return case((kind == "number", numbers), else_=false())


def _numeric(value: Scalar) -> ColumnElement[Decimal]:
    """By its digits, as PostgreSQL keeps the numbers of a JSON document."""
    return literal(Decimal(repr(value)), Numeric())
