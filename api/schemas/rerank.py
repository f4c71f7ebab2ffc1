"""Reranking in the shape that Cohere, Jina, vLLM and Elastic share, for documents that are pictures."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field

from sightline.api.data_uris import is_data_uri
from sightline.api.schemas.accepted import Accepted, MetaAnswer, UsageAnswer
from sightline.api.schemas.common import Answer, Text
from sightline.api.schemas.documents import TINY_PICTURE, ContentList, Document, kind_of, spread_content

PICTURE_QUERY: Final = (
    "The query of a rerank is text; /score takes a picture on either side, and a search of a collection "
    "takes a picture as image."
)


def words_of(value: Any) -> Any:
    """The text of what clients write in place of a string; anything else as it is."""
    if isinstance(value, dict):
        if set(value) == {"content"} and isinstance(value["content"], list) and len(value["content"]) == 1:
            return words_of(value["content"][0])
        name = next((name for name in ("text", "value") if isinstance(value.get(name), str)), None)
        is_text = value.get("type", "text") == value.get("format", "text") == "text"
        if name is not None and is_text and set(value) <= {name, "type", "format"}:
            return value[name]
    return value


def query_words(value: Any) -> Any:
    """As `words_of`; a picture is refused."""
    words = words_of(value)
    if is_data_uri(words) or kind_of(words) is not None:
        raise ValueError(PICTURE_QUERY)
    return words


Words = Annotated[Text, Field(min_length=1, max_length=10_000, pattern=r"\S")]


class RerankBody(Accepted):
    """Score pictures against a sentence."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query": "a red car and a blue house",
                    "documents": [{"image": TINY_PICTURE}, {"id": "0042.webp", "collection": "demo"}],
                    "top_n": 2,
                },
                {
                    "model": "rerank-v3.5",
                    "query": "a red car",
                    "documents": [TINY_PICTURE],
                    "max_tokens_per_doc": 4096,
                },
                {
                    "query": "a red car",
                    "documents": {"content": [{"type": "image_url", "image_url": {"url": TINY_PICTURE}}]},
                },
                {
                    "query": "a red car",
                    "documents": [{"type": "image", "format": "base64", "value": TINY_PICTURE}],
                    "return_documents": True,
                },
            ]
        }
    )

    query: Annotated[Words, BeforeValidator(query_words, json_schema_input_type=Words | dict[str, Any])]
    documents: Annotated[
        list[Document],
        Field(min_length=1, fail_fast=True),
        BeforeValidator(spread_content, json_schema_input_type=list[Document] | Document | ContentList),
    ] = Field(
        validation_alias=AliasChoices("documents", "input"),
        description="Pictures; a string is the data URI of one. Elastic's name for them is input.",
    )
    top_n: int | None = Field(None, ge=0, description="How many of the best; null and 0: all.")
    return_documents: bool | None = Field(
        None, description="Repeat documents in the results; long pictures are not repeated."
    )


class RerankedAnswer(Answer):
    """One document, by its position in the request."""

    index: int
    relevance_score: float = Field(
        description="The match probability, calibrated (see docs/scoring.md); with use_activation false the "
        "match logit."
    )
    itm_logit: float
    match_probability_raw: float = Field(description="The model's own softmax.")
    document: dict[str, Any] | None = Field(None, description="Only where documents are repeated.")


class RerankAnswer(Answer):
    """Documents by falling relevance."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5f1c…",
                    "model": "Salesforce/blip2-itm-vit-g",
                    "results": [
                        {
                            "index": 1,
                            "relevance_score": 0.971,
                            "itm_logit": 4.969,
                            "match_probability_raw": 0.993,
                        },
                        {
                            "index": 0,
                            "relevance_score": 0.012,
                            "itm_logit": -3.842,
                            "match_probability_raw": 0.021,
                        },
                    ],
                    "truncated": False,
                    "degraded": [],
                    "unknown_words": [],
                    "notes": [],
                    "usage": {"prompt_tokens": 0, "total_tokens": 0},
                    "meta": {"warnings": []},
                }
            ]
        }
    )

    id: str
    model: str
    results: list[RerankedAnswer]
    truncated: bool
    degraded: list[str]
    unknown_words: list[str] = Field(
        description="Words of the query that the model does not know; where it knows none, nothing is ranked."
    )
    notes: list[str] = Field(description="What is to be said of the answer and of the model.")
    usage: UsageAnswer
    meta: MetaAnswer
