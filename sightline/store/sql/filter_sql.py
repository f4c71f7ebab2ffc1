"""Filters as SQL, with the same meaning on SQLite and PostgreSQL. Values and names travel as parameters only.

Every clause is true or false, never NULL, so that NOT means what ``must_not`` says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    REAL,
    ColumnElement,
    Double,
    Numeric,
    Text,
    and_,
    any_,
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

from sightline.store.conditions import Bound, Condition, Contains, Exists, Field, Filter, In, Range, Scalar
from sightline.store.sql.instant_sql import (
    is_instant,
    postgres_bound,
    postgres_instant,
    sqlite_bound,
    sqlite_instant,
)
from sightline.store.sql.rows import IMAGES
from sightline.store.unicode_forms import forms

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
COMPARE: Final[dict[str, Callable[[Any, Any], Truth]]] = {
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
    on_json = _on_sqlite_json if dialect == "sqlite" else _on_jsonb
    found = or_(*(on_json(clause, path) for path in paths(clause.field)))
    return not_(found) if isinstance(clause, Exists) and not clause.wanted else found


# Unicode forms: what is stored is found under whatever spelling of it (see `sightline.store.unicode_forms`)


def all_forms(texts: Iterable[Any]) -> list[str]:
    """Each of these texts as it is given, and in its other forms."""
    return list(dict.fromkeys(form for text in texts for form in forms(text)))


def paths(field: Field) -> list[list[str]]:
    """The names of a metadata field as given, and in other forms: no form makes a dot or loses one."""
    return [form.split(".") for form in forms(".".join(field.path))]


# columns


def _on_column(clause: Condition, dialect: str) -> Truth:
    subject = _COLUMNS[clause.field.name]
    if isinstance(clause, Exists):
        return subject.is_not(None) if clause.wanted else subject.is_(None)
    if isinstance(clause, In):
        return _column_in(subject, clause, dialect)
    if isinstance(clause, Contains):
        return contains(subject, clause.text, dialect)
    return _within(subject, clause, dialect, lambda bound: _column_value(clause.field, bound, dialect))


def _column_in(subject: ColumnElement[Any], clause: In, dialect: str) -> Truth:
    if clause.field.kind == "text":
        return subject.in_(all_forms(clause.values))
    if dialect == "sqlite":
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


def _within(subject: ColumnElement[Any], clause: Range, dialect: str, value: Callable[[Any], Any]) -> Truth:
    if dialect == "postgresql" and isinstance(clause.bounds[0][1], str):
        subject = subject.collate("C")  # by code point, as SQLite and Python compare
    return _compared(subject, clause, value)


def _compared(subject: ColumnElement[Any], clause: Range, value: Callable[[Any], Any]) -> Truth:
    return and_(*(COMPARE[name](subject, value(bound)) for name, bound in clause.bounds))


def contains(subject: ColumnElement[Any], text: str, dialect: str) -> Truth:
    """A pattern of letter classes ("[aA]"): what a letter's other case is does not depend on the database."""
    if dialect == "sqlite":
        patterns = ["*" + "".join(map(_glob_class, form)) + "*" for form in forms(text)]
        return or_(*(subject.bool_op("GLOB")(pattern) for pattern in patterns))
    patterns = ["".join(map(_regex_class, form)) for form in forms(text)]
    return or_(*(subject.collate("C").bool_op("~")(pattern) for pattern in patterns))


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


def _one_of(subject: ColumnElement[Any], texts: Sequence[str], dialect: str) -> Truth:
    """One parameter: forms of names times forms of texts would be more than a database takes."""
    if dialect == "postgresql":
        return subject == any_(literal(list(texts), ARRAY(Text)))
    listed = func.json_each(literal(json.dumps(list(texts), ensure_ascii=False), Text()))
    return subject.in_(select(listed.table_valued("value").c.value))


# metadata in SQLite: json_each gives one row per element of a list, and one for a scalar


def _on_sqlite_json(clause: Condition, names: Sequence[str]) -> Truth:
    path = "$" + "".join(f'."{name}"' for name in names)
    kind = func.coalesce(func.json_type(IMAGES.c.metadata, path), "null")
    if isinstance(clause, Exists):
        return kind != "null"
    element = func.json_each(IMAGES.c.metadata, path).table_valued("atom", "type")
    matches = _sqlite_element(clause, element.c.atom, element.c.type)
    return and_(kind != "object", exists(select(literal_column("1")).select_from(element).where(matches)))


def _sqlite_element(
    clause: In | Range | Contains, atom: ColumnElement[Any], kind: ColumnElement[Any]
) -> Truth:
    number, text = kind.in_(["integer", "real"]), kind == "text"
    if isinstance(clause, Contains):
        return and_(text, contains(atom, clause.text, "sqlite"))
    if isinstance(clause, In):
        return _sqlite_equal(clause, atom, kind)
    if clause.of_instants:
        return and_(text, _compared(sqlite_instant(atom), clause, sqlite_bound))
    same_kind = text if isinstance(clause.bounds[0][1], str) else number
    return and_(same_kind, _within(atom, clause, "sqlite", _sqlite_value))


def _sqlite_equal(clause: In, atom: ColumnElement[Any], kind: ColumnElement[Any]) -> Truth:
    number, text = kind.in_(["integer", "real"]), kind == "text"
    texts = all_forms(value for value in clause.values if isinstance(value, str))
    flags = ["true" if value else "false" for value in clause.values if isinstance(value, bool)]
    integers = [value for value in clause.values if isinstance(value, int) and not isinstance(value, bool)]
    fractions = [_sqlite_value(value) for value in clause.values if isinstance(value, float)]
    equal = or_(atom.in_(integers), atom.in_(fractions))
    found = or_(and_(text, _one_of(atom, texts, "sqlite")), and_(number, equal), kind.in_(flags))
    if not (instants := clause.instants):
        return found
    return or_(found, and_(text, sqlite_instant(atom).in_([sqlite_bound(value) for value in instants])))


def _sqlite_value(value: Bound) -> Any:
    """A fraction travels as its digits, so that SQLite reads it exactly as it read the stored ones."""
    return cast(literal(repr(value)), REAL) if isinstance(value, float) else literal(value)


# metadata in PostgreSQL


def _on_jsonb(clause: Condition, names: Sequence[str]) -> Truth:
    value: Any = IMAGES.c.metadata
    for name in names:
        # As text: "0" is a name and no position.
        value = value.op("->", return_type=JSONB())(cast(name, Text))
    kind = func.coalesce(func.jsonb_typeof(value), "null")
    if isinstance(clause, Exists):
        return kind != "null"
    elements = case((kind == "array", value), else_=func.jsonb_build_array(value))
    element = func.jsonb_array_elements(elements).table_valued(column("value", JSONB()), name="element")
    matches = _jsonb_element(clause, element.c.value)
    return exists(select(literal_column("1")).select_from(element).where(matches))


def _jsonb_element(clause: In | Range | Contains, element: ColumnElement[Any]) -> Truth:
    kind = func.jsonb_typeof(element)
    content = element.op("#>>", return_type=Text())(cast(literal("{}", Text()), ARRAY(Text)))
    if isinstance(clause, In):
        return _jsonb_equal(clause, element, content)
    if isinstance(clause, Contains):
        return case((kind == "string", contains(content, clause.text, "postgresql")), else_=false())
    if clause.of_instants:
        within = _compared(postgres_instant(content), clause, postgres_bound)
        return case((and_(kind == "string", is_instant(content)), within), else_=false())
    if isinstance(clause.bounds[0][1], str):
        texts = _within(content, clause, "postgresql", lambda bound: literal(bound, Text()))
        return case((kind == "string", texts), else_=false())
    numbers = _within(cast(content, Numeric), clause, "postgresql", _numeric)
    # CASE, not AND: the cast must never see anything but a number.
    return case((kind == "number", numbers), else_=false())


def _jsonb_equal(clause: In, element: ColumnElement[Any], content: ColumnElement[Any]) -> Truth:
    text = func.jsonb_typeof(element) == "string"
    texts = all_forms(value for value in clause.values if isinstance(value, str))
    others = [value for value in clause.values if not isinstance(value, str)]
    equal = element.in_(bindparam(None, others, type_=JSONB(), expanding=True))
    found = or_(and_(text, _one_of(content, texts, "postgresql")), equal)
    if not (instants := clause.instants):
        return found
    same = postgres_instant(content).in_([postgres_bound(value) for value in instants])
    return or_(found, case((and_(text, is_instant(content)), same), else_=false()))


def _numeric(value: Scalar) -> ColumnElement[Decimal]:
    """By its digits, as PostgreSQL keeps the numbers of a JSON document."""
    return literal(Decimal(repr(value)), Numeric())
