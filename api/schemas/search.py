"""Search over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Self

from annotated_types import Le
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from sightline.api.discretion import refuse_hidden_fields, shown_uri
from sightline.api.schemas.common import Answer, Request, Text, body_of, storable_json, storable_text
from sightline.api.urls import file_url, thumbnail_url
from sightline.records import (
    MAX_CANDIDATES,
    Effort,
    FoundBy,
    InstructedMatcher,
    SearchHit,
    SearchRequest,
    SearchResponse,
)

SearchFields = body_of(
    SearchRequest,
    "SearchFields",
    without={"collection", "matcher"},
    stricter={
        "text": (AfterValidator(storable_text), Field(min_length=1, max_length=10_000, pattern=r"\S")),
        "limit": (Le(1000),),
        "filter": (AfterValidator(storable_json),),
        "deadline_ms": (Le(3_600_000),),
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


class SearchBody(SearchFields):  # type: ignore[misc, valid-type]  # mypy knows no class that is made by a call
    """One sentence to find pictures by."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "a red car and a blue house", "limit": 10},
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

    matcher: MatcherBody | None = Field(
        None, description="A model that answers yes or no, to order the candidates by: see docs/asking.md."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_probability is not None and not self.rerank:
            raise ValueError(
                "The parameter min_probability needs rerank: without ITM there is no match probability."
            )
        if self.offset + self.limit > MAX_CANDIDATES:
            raise ValueError(f"The sum offset + limit may be at most {MAX_CANDIDATES:,}.")
        return self

    def to_request(self, collection: str, matcher: InstructedMatcher | None = None) -> SearchRequest:
        """The same for one collection, with a matcher that is served.

        Raises FilterError: a filter on what is not shown.
        """
        refuse_hidden_fields(self.filter)
        return SearchRequest(collection, **(dict(self) | {"matcher": matcher}))


class HitAnswer(Answer):
    """One hit. Ranks count from 1; ``itm_logit`` and ``match_probability`` are null without an ITM score."""

    id: str
    uri: str = Field(description="Where it came from, or the id where this server does not show that.")
    rank: int
    score: float
    itc: float = Field(description="Cosine: the best of the image's query tokens against the text vector.")
    itc_rank: int | None = Field(description="Null where words of a text alone brought it.")
    itm_logit: float | None
    match_probability: float | None
    caption: str | None
    metadata: dict[str, Any]
    width: int
    height: int
    thumbnail_url: str
    file_url: str
    found_by: FoundBy = Field(description="What brought it: its picture (ITC), words of a text, or both.")
    matched_text: str | None = Field(description="The text whose words brought it.")
    instruction_probability: float | None = Field(
        None, description="Of yes against no, where a matcher ordered; the score is then its log-odds."
    )
    duplicates: list[str] | None = Field(
        None, description="Ids of candidates that are the same picture; null without collapse."
    )


Milliseconds = Annotated[float, AfterValidator(lambda value: round(value, 3))]


class TimingsAnswer(Answer):
    """Milliseconds."""

    encode_ms: Milliseconds
    retrieve_ms: Milliseconds
    rerank_ms: Milliseconds
    total_ms: Milliseconds


class ReachedAnswer(Answer):
    """So many candidates went through the first ``layers`` of ITM's ``of`` layers, and no further."""

    layers: int
    all_layers: int = Field(alias="of")
    candidates: int


class SearchAnswer(Answer):
    """Hits in order, and what it took to find them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "results": [
                        {
                            "id": "0042.webp",
                            "uri": "/srv/pictures/0042.webp",
                            "rank": 1,
                            "score": 5.381,
                            "itc": 0.412,
                            "itc_rank": 8,
                            "itm_logit": 4.969,
                            "match_probability": 0.993,
                            "caption": "a red car left of a blue house",
                            "metadata": {"setting": "city"},
                            "width": 384,
                            "height": 384,
                            "thumbnail_url": "/v1/collections/demo/images/0042.webp/thumbnail?v=5d41402a",
                            "file_url": "/v1/collections/demo/images/0042.webp/file?v=5d41402a",
                            "found_by": "both",
                            "matched_text": "a red car left of a blue house",
                        }
                    ],
                    "truncated": False,
                    "timings": {"encode_ms": 6.1, "retrieve_ms": 0.8, "rerank_ms": 71.0, "total_ms": 78.6},
                    "generation": 3,
                    "images": 502,
                    "scored": 100,
                    "degraded": [],
                    "effort": "full",
                    "reached": [{"layers": 12, "of": 12, "candidates": 100}],
                    "approximate": False,
                    "recall": None,
                }
            ]
        }
    )

    results: list[HitAnswer]
    truncated: bool = Field(description="The text was longer than the model reads, and was cut.")
    timings: TimingsAnswer
    generation: int = Field(description="The index generation that answered; 0 before the first.")
    images: int = Field(description="How many images could have been found.")
    scored: int = Field(description="How many candidates ITM scored.")
    degraded: list[str] = Field(
        description="What the answer had to do without because files are lost or damaged; empty: nothing."
    )
    effort: Effort = Field(description="What was done: full where nothing was learned on the collection yet.")
    reached: list[ReachedAnswer] = Field(
        description="How far candidates went through ITM's layers, the fewest first; empty: all the way."
    )
    approximate: bool = Field(
        description="Whether the index may have missed images; the scores of what it found are exact."
    )
    recall: float | None = Field(
        description="What part of the best 100 the index finds, as measured; null where it misses nothing."
    )


class PlaceAnswer(Answer):
    """Where one hit stands now, and its scores by now."""

    id: str
    rank: int
    score: float
    itm_logit: float | None
    match_probability: float | None
    instruction_probability: float | None


class OrderAnswer(Answer):
    """The hits while ITM makes the order: the event ``order``."""

    scored: int = Field(description="How many candidates ITM scored by now.")
    given: int = Field(alias="of", description="How many it is given.")
    order: list[PlaceAnswer] = Field(description="The hits as they stand now, best first.")
    hits: list[HitAnswer] = Field(description="Those of them that no earlier event has told whole.")


def hit_answer(hit: SearchHit, collection: str, root: str = "") -> HitAnswer:
    """One hit as JSON."""
    place = (collection, hit.id, hit.sha256, root)
    uri = shown_uri(hit.id, hit.uri)
    return HitAnswer.of(hit, uri=uri, file_url=file_url(*place), thumbnail_url=thumbnail_url(*place))


def search_answer(response: SearchResponse, collection: str, root: str = "") -> SearchAnswer:
    """An answer as JSON."""
    return SearchAnswer.of(response, results=[hit_answer(hit, collection, root) for hit in response.results])
