"""Search over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from sightline.api.schemas.common import Answer, JsonObject, Request, Text
from sightline.api.urls import file_url, thumbnail_url
from sightline.records import MAX_CANDIDATES, Precision, ScoreName, SearchHit, SearchRequest, SearchResponse


class SearchBody(Request):
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

    text: Annotated[Text, Field(min_length=1, max_length=10_000, pattern=r"\S")]
    limit: int = Field(10, ge=1, le=1000)
    offset: int = Field(0, ge=0, le=MAX_CANDIDATES)
    candidates: int = Field(100, ge=1, le=MAX_CANDIDATES, description="How many ITC candidates ITM scores.")
    rerank: bool = True
    score: ScoreName = Field("itm+itc", description="What orders the candidates that ITM scored.")
    filter: JsonObject | None = Field(
        None, description="must / should / must_not of conditions: see docs/http.md."
    )
    min_probability: float | None = Field(
        None, ge=0, le=1, description="Needs rerank; applies before offset."
    )
    precision: Precision = Field(
        "fast", description="exact: the best 2 · (offset + limit) are scored again in float32."
    )
    deadline_ms: float | None = Field(
        None,
        gt=0,
        le=3_600_000,
        description="What ITM could not score by then keeps its ITC order below the rest.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_probability is not None and not self.rerank:
            raise ValueError("min_probability needs rerank: without ITM there is no match probability.")
        if self.offset + self.limit > MAX_CANDIDATES:
            raise ValueError(f"offset + limit may be at most {MAX_CANDIDATES:,}.")
        return self

    def to_request(self, collection: str) -> SearchRequest:
        """The same as the roof takes it."""
        return SearchRequest(
            collection=collection,
            text=self.text,
            limit=self.limit,
            offset=self.offset,
            candidates=self.candidates,
            rerank=self.rerank,
            score=self.score,
            filter=self.filter,
            min_probability=self.min_probability,
            precision=self.precision,
            deadline_ms=self.deadline_ms,
        )


class HitAnswer(Answer):
    """One hit. Ranks count from 1; ``itm_logit`` and ``match_probability`` are null without an ITM score."""

    id: str
    uri: str
    rank: int
    score: float
    itc: float = Field(description="Cosine: the best of the image's query tokens against the text vector.")
    itc_rank: int
    itm_logit: float | None
    match_probability: float | None
    caption: str | None
    metadata: dict[str, Any]
    width: int
    height: int
    thumbnail_url: str
    file_url: str


Milliseconds = Annotated[float, AfterValidator(lambda value: round(value, 3))]


class TimingsAnswer(Answer):
    """Milliseconds."""

    encode_ms: Milliseconds
    retrieve_ms: Milliseconds
    rerank_ms: Milliseconds
    total_ms: Milliseconds


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
                        }
                    ],
                    "truncated": False,
                    "timings": {"encode_ms": 6.1, "retrieve_ms": 0.8, "rerank_ms": 71.0, "total_ms": 78.6},
                    "generation": 3,
                    "images": 502,
                    "scored": 100,
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


def hit_answer(hit: SearchHit, collection: str, root: str = "") -> HitAnswer:
    """One hit as JSON."""
    place = (collection, hit.id, hit.sha256, root)
    return HitAnswer.of(hit, file_url=file_url(*place), thumbnail_url=thumbnail_url(*place))


def search_answer(response: SearchResponse, collection: str, root: str = "") -> SearchAnswer:
    """An answer as JSON."""
    return SearchAnswer.of(response, results=[hit_answer(hit, collection, root) for hit in response.results])
