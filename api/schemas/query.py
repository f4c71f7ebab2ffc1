"""A compound query over HTTP. Its strings are texts: no sign in them means anything."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from sightline.api.schemas.common import Request, Text
from sightline.errors import InputError
from sightline.queries import MAX_CLAUSE_TEXT, MAX_CLAUSES, Clause, Query, check_query

CLAUSE = 'A clause is a string, or {"text": …, "weight": …}.'
ClauseText = Annotated[Text, Field(min_length=1, max_length=MAX_CLAUSE_TEXT, pattern=r"\S")]


class ClauseBody(Request):
    """A sentence and how much it counts."""

    text: ClauseText
    weight: float = Field(
        1.0, gt=0, le=1, description="How much of the match a picture loses that misses it; 1: all."
    )


def kind_of(value: Any) -> str:
    """Which form of a clause this is. Tags are no steps of a pointer."""
    return "tag:text" if isinstance(value, str) else "tag:clause"


def refuse_others(value: Any) -> Any:
    """Say what a clause is, of what is none."""
    if not isinstance(value, (str, dict, ClauseBody)):
        raise ValueError(CLAUSE)
    return value


ClauseGiven = Annotated[
    Annotated[ClauseText, Tag("tag:text")] | Annotated[ClauseBody, Tag("tag:clause")],
    Discriminator(kind_of),
    BeforeValidator(refuse_others),
]
Clauses = Annotated[list[ClauseGiven], Field(max_length=MAX_CLAUSES, fail_fast=True)]


class QueryBody(Request):
    """What pictures should show and what not: clauses that are judged one by one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"all": ["a red car"], "none": ["a house"]},
                {"all": ["a red car"], "any": [{"text": "at night", "weight": 0.5}]},
            ]
        }
    )

    all: Clauses = Field([], description="What a picture must show, each of them.")
    any: Clauses = Field([], description="At least one of these.")
    none: Clauses = Field([], description="None of these.")

    @model_validator(mode="after")
    def _finds(self) -> Self:
        try:
            check_query(self.to_query())
        except InputError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def clauses(self) -> int:
        """How many there are."""
        return len(self.all) + len(self.any) + len(self.none)

    def to_query(self) -> Query:
        """The same as a plain value."""
        return Query(_clauses(self.all), _clauses(self.none), _clauses(self.any))


def _clauses(given: list[Any]) -> tuple[Clause, ...]:
    return tuple(Clause(one) if isinstance(one, str) else Clause(one.text, one.weight) for one in given)
