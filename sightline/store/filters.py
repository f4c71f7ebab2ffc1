"""The filter language: what users write, parsed into typed clauses (SQL: ``sightline.store.sql.filter_sql``).

A filter is ``{"must": […], "should": […], "must_not": […]}``: all of ``must``, at least one of ``should``
when it is not empty, none of ``must_not``; the lists hold conditions and filters. A condition alone is a
filter too.

A condition is ``{"field": NAME}`` with exactly one of

    "equals": value           text, number or true/false; 1 equals 1.0, but neither "1" nor true
    "in": [value, …]          equal to any of them (to none when the list is empty)
    "range": {"gt" | "gte" | "lt" | "lte": bound}   numbers or texts (by code point), one kind
    "exists": true | false    the field is there and not null
    "contains": "text"        a text in which this text occurs, whatever the case of its letters

Fields are id, caption, uri, sha256 (text), width, height, bytes, created_at (numbers; the last one also as
RFC 3339 text, "2026-11-23T22:40:00Z": all that answers show so) and ``metadata.a.b``
for ``{"a": {"b": …}}``; any other name is a metadata field too. When the metadata holds a list, one element
that fulfils the condition suffices. What is missing, null, an object or of another type fulfils nothing but
``must_not``.

Texts and names are also found composed or decomposed (``sightline.store.unicode_forms``; not in ``range``).
A date, time and zone in ``equals``, ``in`` and ``range`` of metadata means an instant: other spellings of it
fit, texts that are none do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from sightline.errors import FilterError, InputError, NotJsonError
from sightline.store.conditions import Bound, Condition, Contains, Exists, Field, Filter, In, Range, Scalar
from sightline.store.json_text import read_json
from sightline.store.moments import instant_key, shown_span
from sightline.store.values import INT64, check_text

TEXT_FIELDS = frozenset({"id", "caption", "uri", "sha256"})
NUMBER_FIELDS = frozenset({"width", "height", "bytes", "created_at"})

MAX_DEPTH = 8
MAX_CONDITIONS = 100
MAX_VALUES = 10_000
MAX_TEXT = 1_000

_GROUPS = ("must", "should", "must_not")
_OPERATORS = ("equals", "in", "range", "exists", "contains")
_BOUNDS = ("gt", "gte", "lt", "lte")


def parse_filter(obj: object) -> Filter:
    """Raises FilterError with one clear sentence."""
    clause = _clause(obj, MAX_DEPTH)
    parsed = clause if isinstance(clause, Filter) else Filter(must=(clause,))
    conditions = list(_conditions(parsed))
    if len(conditions) > MAX_CONDITIONS:
        _refuse(f"A filter has at most {MAX_CONDITIONS} conditions, not {len(conditions)}.")
    values = sum(len(condition.values) for condition in conditions if isinstance(condition, In))
    if values > MAX_VALUES:
        _refuse(f"A filter compares with at most {MAX_VALUES:,} values, not {values:,}.")
    return parsed


def read_filter(text: str) -> Mapping[str, Any]:
    """A filter that came as JSON text, as the object that ``parse_filter`` gives meaning.

    Raises:
        FilterError: no JSON, or JSON that is no object.
    """
    try:
        found = read_json(text)
    except NotJsonError as error:
        raise FilterError(f"The filter is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise FilterError(f"A filter is a JSON object, not {_name(found)}.")
    return found


def _refuse(sentence: str) -> NoReturn:
    raise FilterError(sentence)


def _conditions(parsed: Filter) -> Iterator[Condition]:
    for clause in (*parsed.must, *parsed.should, *parsed.must_not):
        if isinstance(clause, Filter):
            yield from _conditions(clause)
        else:
            yield clause


def _clause(obj: object, depth: int) -> Condition | Filter:
    if not isinstance(obj, Mapping):
        _refuse(f"A filter is a JSON object, not {_name(obj)}.")
    if depth == 0:
        _refuse(f"Filters nest at most {MAX_DEPTH} levels deep.")
    if "field" in obj:
        return _condition(obj)
    if unknown := [name for name in obj if name not in _GROUPS]:
        _refuse(
            "A filter has the keys must, should and must_not, or field for a condition; "
            f"not {_shown(unknown[0])}."
        )
    groups = {name: _group(name, obj[name], depth) for name in _GROUPS if name in obj}
    return Filter(**groups)


def _group(name: str, clauses: object, depth: int) -> tuple[Condition | Filter, ...]:
    if isinstance(clauses, Mapping):
        clauses = [clauses]
    if not isinstance(clauses, list | tuple):
        _refuse(f"The part {name!r} is a list of conditions, not {_name(clauses)}.")
    if len(clauses) > MAX_CONDITIONS:  # told before each is looked at
        _refuse(f"A filter has at most {MAX_CONDITIONS} conditions, not {len(clauses)}.")
    return tuple(_clause(clause, depth - 1) for clause in clauses)


def _condition(obj: Mapping[Any, Any]) -> Condition | Filter:
    operators = [name for name in obj if name != "field"]
    if len(operators) != 1 or operators[0] not in _OPERATORS:
        _refuse(
            f"The condition on {_shown(obj['field'])} needs exactly one of {', '.join(_OPERATORS)}; "
            f"it has {', '.join(map(_shown, operators[:5])) or 'none'}."
        )
    operator, field = operators[0], field_named(obj["field"])
    value = obj[operator]
    if operator == "equals":
        return _one_of(field, (_scalar(field, value),))
    if operator == "in":
        return _one_of(field, _values(field, value))
    if operator == "range":
        return Range(field, _bounds(field, value))
    return _exists(field, value) if operator == "exists" else _contains(field, value)


def field_named(name: object) -> Field:
    """The field of this name; FilterError when none can be called so."""
    if not isinstance(name, str) or not name:
        _refuse(f"A field is named by a text, not {_name(name)}.")
    if len(name) > MAX_TEXT:
        _refuse(f"The name of a field has at most {MAX_TEXT:,} characters.")
    if name in TEXT_FIELDS:
        return Field(name, "text")
    if name in NUMBER_FIELDS:
        return Field(name, "number")
    path = tuple(name.removeprefix("metadata.").split("."))
    if not all(path):
        _refuse(f"The field name {name!r} has an empty part.")
    if name == "metadata":
        _refuse("Name a field of the metadata, such as 'metadata.year'.")
    if any(character in '"\\' or character < " " for character in name):
        _refuse(f"The field name {name!a} has a quote, a backslash or a control character.")
    _check_storable(f"The field name {name!a}", name)
    return Field(name, "metadata", path)


def _scalar(field: Field, value: object) -> Scalar:
    if value is None:
        _refuse(f'Field {field.name!r} cannot be compared with null: use "exists": false.')
    if not isinstance(value, str | bool | int | float):
        _refuse(
            f"Field {field.name!r} can be compared with text, number or true/false, not with {_name(value)}."
        )
    if isinstance(value, str):
        _check_storable(f"The text for {field.name!r}", value)
    elif not isinstance(value, bool):
        value = _number(field, value)
    if field.name == "created_at" and isinstance(value, str):
        _span(value)
        return value
    is_number = not isinstance(value, str | bool)
    if (field.kind == "text" and not isinstance(value, str)) or (field.kind == "number" and not is_number):
        _refuse(f"Field {field.name!r} is a {field.kind}: it cannot be compared with {_name(value)}.")
    return value


def _span(text: str) -> tuple[float, float]:
    """From which second since 1970, and before which, answers show this date, time and zone."""
    span = shown_span(text)
    if span is None:
        _refuse(
            "Field 'created_at' is compared with seconds since 1970, or with a date, time and zone such as "
            f"2026-11-23T22:40:00Z, not with {text!a:.60}."
        )
    return span


def _one_of(field: Field, values: tuple[Scalar, ...]) -> Condition | Filter:
    """A time as answers show it means all that they show so."""
    texts = [value for value in values if isinstance(value, str)]
    if field.name != "created_at" or not texts:
        return In(field, values)
    spans = [Range(field, (("gte", start), ("lt", end))) for start, end in map(_span, texts)]
    numbers = tuple(value for value in values if not isinstance(value, str))
    return Filter(should=(*spans, In(field, numbers)) if numbers else tuple(spans))


def _bound(field: Field, name: str, value: Bound) -> tuple[str, Bound]:
    if field.name != "created_at" or not isinstance(value, str):
        return name, value
    start, end = _span(value)
    return {"gt": ("gte", end), "gte": ("gte", start), "lt": ("lt", start), "lte": ("lt", end)}[name]


def _check_storable(what: str, value: str) -> None:
    try:
        check_text(what, value)
    except InputError as error:
        raise FilterError(str(error)) from error


def _number(field: Field, value: int | float) -> int | float:
    if isinstance(value, float) and not math.isfinite(value):
        _refuse(f"Field {field.name!r} cannot be compared with {value}.")
    if not -INT64 <= value < INT64 and isinstance(value, int):
        _refuse(f"Field {field.name!r} cannot be compared with an integer beyond 64 bits.")
    if isinstance(value, float) and value.is_integer() and -INT64 <= value < INT64:
        return int(value)
    return value


def _values(field: Field, values: object) -> tuple[Scalar, ...]:
    if not isinstance(values, list | tuple):
        _refuse(f"The condition 'in' takes a list of values for {field.name!r}, not {_name(values)}.")
    if len(values) > MAX_VALUES:
        _refuse(f"A filter compares with at most {MAX_VALUES:,} values, not {len(values):,}.")
    return tuple(_scalar(field, value) for value in values)


def _bounds(field: Field, bounds: object) -> tuple[tuple[str, Bound], ...]:
    if not isinstance(bounds, Mapping) or not bounds or any(name not in _BOUNDS for name in bounds):
        _refuse(
            f"The condition 'range' takes an object with some of {', '.join(_BOUNDS)} for {field.name!r}."
        )
    found: list[tuple[str, Bound]] = []
    for name, bound in bounds.items():
        value = _scalar(field, bound)
        if isinstance(value, bool):
            _refuse(f"The range of {field.name!r} cannot have {_name(value)} as a bound.")
        found.append(_bound(field, name, value))
    if len({isinstance(bound, str) for _, bound in found}) == 2:
        _refuse(f"The range of {field.name!r} mixes text and numbers.")
    if field.kind == "metadata" and len({instant_key(bound) is None for _, bound in found}) == 2:
        _refuse(f"The range of {field.name!r} mixes a date, time and zone with other text.")
    return tuple(found)


def _exists(field: Field, wanted: object) -> Exists:
    if not isinstance(wanted, bool):
        _refuse(f"The condition 'exists' takes true or false for {field.name!r}, not {_name(wanted)}.")
    return Exists(field, wanted)


def _contains(field: Field, text: object) -> Contains:
    if not isinstance(text, str) or not text:
        _refuse(f"The condition 'contains' takes a text for {field.name!r}, not {_name(text)}.")
    if field.kind == "number":
        _refuse(f"Field {field.name!r} is a number: it contains no text.")
    if len(text) > MAX_TEXT:
        _refuse(f"The condition 'contains' takes at most {MAX_TEXT:,} characters for {field.name!r}.")
    _check_storable(f"The text for {field.name!r}", text)
    return Contains(field, text)


def _shown(value: object) -> str:
    """A name that was given: the start of it, or how a person calls what is no text."""
    return f"{value!r:.100}" if isinstance(value, str) else _name(value)


def _name(value: object) -> str:
    """How a person calls a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    names = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    if value == "":
        return "an empty text"
    return names.get(type(value), type(value).__name__)
