"""Reranking in the shape that Cohere, Jina and vLLM share, for documents that are pictures."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationInfo

from sightline.api.problems import Problem
from sightline.api.schemas.common import Answer, CollectionName, Request, StoredId, Text
from sightline.api.settings import ApiSettings
from sightline.fetching.schemes import is_web

URL_LIKE = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*://|data:|//|www\.)", re.IGNORECASE)
MAX_URL = 8_192
"""Characters of a picture's address on the web."""
NOT_FETCHED = (
    "Remote pictures are not fetched: send the picture itself as a data URI, or index it and send its id; "
    "SIGHTLINE_FETCH__ENABLED=true lets this server fetch pictures from the web."
)
REMOTE = (
    "Pictures of this address are not fetched: send the picture itself as a data URI, or index it and send "
    "its id."
)
BARE_URL = (
    'A bare string counts as text, so this URL would be scored as words. Write {"image": …} with a data URI,'
    ' or {"id": …, "collection": …}.'
)
TEXT = 'Documents are pictures here: write {"image": …} with a data URI, or {"id": …, "collection": …}.'


def kind_of(value: Any) -> str | None:
    """Which kind of document this is, by the one field that each kind has. Tags are no steps of a pointer."""
    if not isinstance(value, dict):
        value = value.model_fields_set if isinstance(value, Request) else ()
    return next((f"tag:{name}" for name in ("image", "content", "id") if name in value), None)


def refuse_text(value: Any) -> Any:
    """Say what is wrong with documents that other rerankers would take for text."""
    if isinstance(value, str):
        raise ValueError(BARE_URL if URL_LIKE.match(value) else TEXT)
    if kind_of(value) is None:
        raise ValueError(TEXT)
    return value


def refuse_remote(value: str) -> str:
    """Data URIs, and the web's: whether those are fetched, the operator says and the route knows."""
    if value[:5].lower() == "data:":
        return value
    if not is_web(value):
        raise ValueError(REMOTE)
    if len(value) > MAX_URL:
        raise ValueError(f"A URL may have at most {MAX_URL:,} characters.")
    return value


PictureUri = Annotated[
    str, BeforeValidator(lambda value: refuse_remote(value) if isinstance(value, str) else value)
]


class ImageDocument(Request):
    """``{"image": "data:image/png;base64,…"}``, as Jina writes it."""

    image: PictureUri

    def uris(self) -> list[str]:
        """The URIs of this document."""
        return [self.image]


class ImageUrl(Request):
    """The inner object of a vLLM content part."""

    url: PictureUri
    detail: str | None = Field(None, max_length=100)


class ContentPart(Request):
    """``{"type": "image_url", "image_url": {"url": …}}``."""

    type: Literal["image_url"]
    image_url: ImageUrl


class ContentDocument(Request):
    """vLLM's ``{"content": [part]}`` with the one picture that it is about."""

    content: Annotated[list[ContentPart], Field(min_length=1, max_length=1, fail_fast=True)]

    def uris(self) -> list[str]:
        """The URIs of this document."""
        return [part.image_url.url for part in self.content]


class StoredDocument(Request):
    """A picture of a collection."""

    id: Annotated[StoredId, Field(min_length=1)]
    collection: CollectionName


Document = Annotated[
    Annotated[ImageDocument, Tag("tag:image")]
    | Annotated[ContentDocument, Tag("tag:content")]
    | Annotated[StoredDocument, Tag("tag:id")],
    Discriminator(kind_of),
    BeforeValidator(refuse_text),
]


def spread_content(value: Any, info: ValidationInfo) -> Any:
    """vLLM's other form, one object whose ``content`` lists all pictures: one document for each part.

    Raises Problem (413) for more documents than this installation takes, before it looks at one of them.
    """
    is_spread = isinstance(value, dict) and isinstance(value.get("content"), list) and len(value) == 1
    documents = value["content"] if is_spread else value
    settings = info.context if isinstance(info.context, ApiSettings) else ApiSettings()
    if isinstance(documents, list) and len(documents) > settings.max_documents:
        raise Problem(413, f"One request may bring at most {settings.max_documents:,} documents.")
    return [{"content": [part]} for part in documents] if is_spread else value


class RerankBody(Request):
    """Score pictures against a sentence."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "query": "a red car and a blue house",
                    "documents": [
                        {"image": "data:image/png;base64,iVBORw0KGgo…"},
                        {"id": "0042.webp", "collection": "demo"},
                    ],
                    "top_n": 2,
                }
            ]
        }
    )

    query: Annotated[Text, Field(min_length=1, max_length=10_000, pattern=r"\S")]
    documents: Annotated[list[Document], Field(min_length=1, fail_fast=True), BeforeValidator(spread_content)]
    top_n: int | None = Field(None, ge=1)
    model: Text | None = Field(None, max_length=200, description="Optional: the model that is served.")
    return_documents: bool = Field(
        False, description="Repeat stored documents ({id, collection}) in the results."
    )


class RerankedAnswer(Answer):
    """One document, by its position in the request."""

    index: int
    relevance_score: float = Field(description="The match probability, calibrated: see docs/scoring.md.")
    itm_logit: float
    match_probability_raw: float = Field(description="The model's own softmax.")
    document: dict[str, Any] | None = None


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
