"""What a search over HTTP is asked."""

from __future__ import annotations

from typing import Annotated, Self

from annotated_types import Le
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from sightline.api.discretion import refuse_hidden_fields
from sightline.api.schemas.common import MAX_CURSOR, Request, Text, body_of, storable_json, storable_text
from sightline.api.schemas.query import QueryBody
from sightline.api.schemas.query_pictures import QueryPicture
from sightline.records import MAX_CANDIDATES, InstructedMatcher, SearchRequest
from sightline.rerank_records import RerankDocument

SearchFields = body_of(
    SearchRequest,
    "SearchFields",
    without={"collection", "matcher", "query", "image"},
    stricter={
        "text": (AfterValidator(storable_text), Field(min_length=1, max_length=10_000, pattern=r"\S")),
        "limit": (Le(1000),),
        "filter": (AfterValidator(storable_json),),
        "deadline_ms": (Le(3_600_000),),
        "sort": (Field(max_length=1_000),),
        "cursor": (Field(max_length=MAX_CURSOR),),
    },
)


class MatcherBody(Request):
    """Which model orders candidates by which instruction."""

    instruction: Annotated[Text, Field(min_length=1, max_length=2_000, pattern=r"\S")] | None = Field(
        None, description="A question that yes or no answers; left out: whether the picture shows the text."
    )
    model: Annotated[Text, Field(max_length=200)] | None = Field(
        None, description="A model that answers and is served here; left out for the one that is set."
    )


class SearchOptions(SearchFields):  # type: ignore[misc, valid-type]  # mypy knows no class that is made by a call
    """All that a search is told beside its picture."""

    matcher: MatcherBody | None = Field(
        None, description="A model that answers yes or no, to order the candidates by: see docs/asking.md."
    )
    query: QueryBody | None = Field(
        None, description="What pictures should show and what not, in clauses; in place of text."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.text and self.query is not None:
            raise ValueError("A search has a text or a query, not both.")
        if self.min_probability is not None and not self.rerank:
            raise ValueError(
                "The parameter min_probability needs rerank: without ITM there is no match probability."
            )
        if self.offset + self.limit > MAX_CANDIDATES:
            raise ValueError(f"The sum offset + limit may be at most {MAX_CANDIDATES:,}.")
        return self

    def to_request(
        self,
        collection: str,
        matcher: InstructedMatcher | None = None,
        image: RerankDocument | None = None,
    ) -> SearchRequest:
        """The same for one collection, with a matcher that is served and the picture that is asked with.

        Raises FilterError: a filter on what is not shown.
        """
        refuse_hidden_fields(self.filter)
        query = None if self.query is None else self.query.to_query()
        return SearchRequest(
            collection, **(dict(self) | {"matcher": matcher, "query": query, "image": image})
        )


class SearchBody(SearchOptions):
    """One sentence to find pictures by, or a query of several clauses; a picture; or a picture and words."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "a red car and a blue house", "limit": 10},
                {"query": {"all": ["a red car"], "none": ["a house"]}},
                {"image": {"id": "0042.webp"}, "text": "at night"},
                {
                    "text": "two boats at night",
                    "limit": 20,
                    "candidates": 200,
                    "min_probability": 0.5,
                    "filter": {"must": [{"field": "metadata.year", "range": {"gte": 2025}}]},
                },
            ]
        }
    )

    image: QueryPicture | None = Field(
        None,
        description="A picture to find others like it: a data URI, or {id} of an image that is stored here.",
    )

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not self.text and self.query is None and self.image is None:
            raise ValueError("Say what to find: in text, in query, or by an image.")
        return self
