"""A compound query: what pictures should show, and what not, in clauses that are judged one by one.

Plain values, which `SearchRequest.query` takes in place of a text; how clauses become one match probability
is in ``sightline/reranker/compound.py``, how people write them in ``sightline/typed_queries.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from sightline.errors import InputError

Role = Literal["all", "any", "none"]
"""Which list of a query a clause stands in."""
ROLES: Final[tuple[Role, ...]] = ("all", "any", "none")

MAX_CLAUSES: Final = 8
"""Of one query: each is judged against every candidate, as a whole search would be."""
MAX_CLAUSE_TEXT: Final = 2_000
"""Characters of one clause; models read a few dozen words."""


@dataclass(frozen=True)
class Clause:
    """One sentence of a query. ``weight``, above 0 and at most 1: how much of the match a picture loses that
    misses it; 1 is all."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Query:
    """``all``: what pictures must show, each of them. ``any``: at least one of these. ``none``: none of them.

    At least one clause of ``all`` or ``any`` says what to look for.
    """

    all: tuple[Clause, ...] = ()
    none: tuple[Clause, ...] = ()
    any: tuple[Clause, ...] = ()

    @property
    def clauses(self) -> tuple[tuple[Role, Clause], ...]:
        """Every clause with its role: those of ``all``, of ``any``, of ``none``."""
        return tuple((role, one) for role in ROLES for one in getattr(self, role))

    @property
    def positive(self) -> tuple[Clause, ...]:
        """What is looked for: ``all``, then ``any``. The first of them is the query's first clause."""
        return (*self.all, *self.any)

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of every clause, in the order of ``clauses``."""
        return tuple(one.text for _, one in self.clauses)


@dataclass(frozen=True)
class ClauseMatch:
    """How likely one picture shows what one clause says; that of ``none`` too is of showing it."""

    text: str
    role: Role
    match_probability: float


def check_query(query: Query) -> None:
    """Raises InputError for a query that nothing could be found by."""
    clauses = query.clauses
    if not clauses:
        raise InputError("The query is empty; say what the pictures should show.")
    if len(clauses) > MAX_CLAUSES:
        raise InputError(f"A query may have at most {MAX_CLAUSES} clauses, not {len(clauses)}.")
    for role, one in clauses:
        _check_clause(role, one)
    if not query.positive:
        raise InputError(
            "The query says only what the pictures should not show; say what they should show as well."
        )


def _check_clause(role: Role, clause: Clause) -> None:
    if not isinstance(clause, Clause) or not isinstance(clause.text, str):
        raise InputError(f"A clause of {role} is none: write Clause(text, weight).")
    if not clause.text.strip():
        raise InputError(f"A clause of {role} is empty; say what it stands for, or leave it out.")
    if len(clause.text) > MAX_CLAUSE_TEXT:
        raise InputError(f"A clause of {role} may have at most {MAX_CLAUSE_TEXT:,} characters.")
    # NaN fails the comparison as well.
    if not (math.isfinite(clause.weight) and 0 < clause.weight <= 1):
        raise InputError(
            f"The weight of a clause is above 0 and at most 1, not {clause.weight}; "
            "to make one count more, lower the others."
        )
