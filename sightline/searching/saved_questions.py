"""What a saved search asks, as JSON: ``{"text": …}``, or ``{"query": {"all": …, "any": …, "none": …}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sightline.errors import InputError
from sightline.queries import Clause, Query, check_query
from sightline.store.values import check_text

MAX_TEXT: Final = 10_000
"""Characters of a text, as of any search over HTTP."""
QUESTION_FIELDS: Final = ("text", "query")
"""What of a search's body a saved question may have: one of the two."""
_ROLES: Final = ("all", "any", "none")


def checked_question(question: Mapping[str, Any]) -> dict[str, Any]:
    """The question itself, as it is kept. Raises InputError for one that nobody could answer."""
    if unknown := sorted(set(question) - set(QUESTION_FIELDS)):
        raise InputError(f"A saved search cannot have the field {unknown[0]!r:.100}; give it a text.")
    if len(question) != 1:
        raise InputError("A saved search has a text or a query: give one of the two.")
    if "query" in question:
        return {"query": to_json(query_from(question["query"]))}
    text = question["text"]
    check_text("The text", text)
    if not isinstance(text, str) or not text.strip():
        raise InputError("The text is empty; say what the pictures should show.")
    if len(text) > MAX_TEXT:
        raise InputError(f"The text may have {MAX_TEXT:,} characters at most.")
    return {"text": text}


def query_from(raw: object) -> Query:
    """Clauses are strings or ``{"text", "weight"}``. Raises InputError."""
    if not isinstance(raw, Mapping) or set(raw) - set(_ROLES):
        raise InputError("A query is an object of all, any and none, each a list of clauses.")
    query = Query(**{role: _clauses(role, raw.get(role, [])) for role in _ROLES})
    check_query(query)
    for text in query.texts:
        check_text("A clause", text)
    return query


def to_json(query: Query) -> dict[str, list[dict[str, Any]]]:
    """As `query_from` reads it."""
    parts = {"all": query.all, "any": query.any, "none": query.none}
    return {
        role: [{"text": one.text, "weight": one.weight} for one in clauses]
        for role, clauses in parts.items()
        if clauses
    }


def _clauses(role: str, raw: object) -> tuple[Clause, ...]:
    if not isinstance(raw, (list, tuple)):
        raise InputError(f"The clauses of {role} are a list of strings, or of text and weight.")
    return tuple(_clause(role, one) for one in raw)


def _clause(role: str, raw: object) -> Clause:
    if isinstance(raw, str):
        return Clause(raw)
    if isinstance(raw, Mapping) and isinstance(raw.get("text"), str) and not set(raw) - {"text", "weight"}:
        weight = raw.get("weight", 1.0)
        if isinstance(weight, (int, float)) and not isinstance(weight, bool):
            return Clause(raw["text"], float(weight))
    raise InputError(f"A clause of {role} is a string, or a text with a weight.")
