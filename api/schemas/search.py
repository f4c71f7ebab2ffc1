"""What a search over HTTP answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from sightline.api.discretion import shown, shown_uri
from sightline.api.schemas.common import (
    Answer,
)
from sightline.api.schemas.explanation import ExplanationAnswer
from sightline.api.urls import file_url, thumbnail_url
from sightline.queries import Role
from sightline.records import (
    Effort,
    FoundBy,
    SearchHit,
    SearchResponse,
    TotalIs,
)


class ClauseAnswer(Answer):
    """How likely a picture shows what one clause says, whatever its role."""

    text: str
    role: Role
    match_probability: float


class HitAnswer(Answer):
    """One hit. Ranks count from 1; ``itm_logit`` and ``match_probability`` are null without an ITM score."""

    id: str
    key: int | None = Field(description="Its number in the index; null where details are not shown.")
    sha256: str = Field(description="Of the original's bytes.")
    uri: str = Field(description="Where it came from, or the id where this server does not show that.")
    rank: int
    score: float
    itc: float = Field(description="Cosine: the best of the image's query tokens against the text vector.")
    itc_rank: int | None = Field(description="Null where words of a text alone brought it.")
    itm_logit: float | None
    match_probability: float | None = Field(description="Calibrated: see docs/scoring.md.")
    match_probability_raw: float | None = Field(description="The model's own softmax.")
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
    clauses: list[ClauseAnswer] = Field(
        [], description="Of a query: each clause by itself, as far as ITM scored."
    )
    similarity: float | None = Field(
        None,
        description="To the query picture: the mean over its tokens of the best token; null without one.",
    )
    explanation: ExplanationAnswer | None = Field(
        None, description="Where explain was asked for: why it is a hit; null without an ITM score."
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
                            "key": 42,
                            "sha256": "5d41402a…",
                            "uri": "/srv/pictures/0042.webp",
                            "rank": 1,
                            "score": 5.381,
                            "itc": 0.412,
                            "itc_rank": 8,
                            "itm_logit": 4.969,
                            "match_probability": 0.971,
                            "match_probability_raw": 0.993,
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
                    "total": None,
                    "total_is": None,
                    "next_cursor": None,
                    "unknown_words": [],
                    "notes": [],
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
    total: int | None = Field(description="Hits on all pages, where they were counted (sort, exact).")
    total_is: TotalIs | None = Field(
        description="exact: all images were judged; at_least: the count stopped where none was to come."
    )
    next_cursor: str | None = Field(description="Ask for the next page with it; null on the last one.")
    unknown_words: list[str] = Field(
        description="Words of the text that the model does not know; where it knows none, nothing is ranked."
    )
    notes: list[str] = Field(description="What is to be said of the answer and of the model.")


class PlaceAnswer(Answer):
    """Where one hit stands now, and its scores by now."""

    id: str
    rank: int
    score: float
    itm_logit: float | None
    match_probability: float | None
    match_probability_raw: float | None
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
    uri, key = shown_uri(hit.id, hit.uri), hit.key if shown.get().details else None
    return HitAnswer.of(hit, uri=uri, key=key, file_url=file_url(*place), thumbnail_url=thumbnail_url(*place))


def search_answer(response: SearchResponse, collection: str, root: str = "") -> SearchAnswer:
    """An answer as JSON."""
    return SearchAnswer.of(response, results=[hit_answer(hit, collection, root) for hit in response.results])
