"""Captions of pictures that come with a request."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from sightline.api.schemas.common import Answer, Request, Text
from sightline.api.schemas.documents import (
    TINY_PICTURE,
    ContentList,
    GivenDocument,
    kind_of,
    refuse_text,
    spread_content,
)
from sightline.blip.sampling import SamplingName
from sightline.captioner.settings import MOST_CAPTIONS

MAX_DESCRIBED: Final = 100
"""Pictures of one request: each costs a language model a sentence or more."""
MAX_PROMPT: Final = 1_000
"""Characters of a prompt."""

STORED = "Pictures of a collection are captioned by a job; send the picture itself as a data URI here."


def refuse_stored(value: Any) -> Any:
    """Say where stored documents, which a rerank takes, are captioned."""
    if kind_of(value) == "tag:id":
        raise ValueError(STORED)
    return refuse_text(value)


CaptionedDocument = Annotated[GivenDocument, BeforeValidator(refuse_stored)]


class CaptionBody(Request):
    """Pictures, as those of a rerank, and how they are to be described."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"documents": [{"image": TINY_PICTURE}], "n": 3}]}
    )

    documents: Annotated[
        list[CaptionedDocument],
        Field(min_length=1, max_length=MAX_DESCRIBED, fail_fast=True),
        BeforeValidator(
            spread_content, json_schema_input_type=list[CaptionedDocument] | CaptionedDocument | ContentList
        ),
    ]
    n: int = Field(1, ge=1, le=MOST_CAPTIONS, description="Captions of each picture.")
    sampling: SamplingName = Field(
        "beam", description="beam: the likeliest; nucleus: drawn; greedy: one, the likeliest word each time."
    )
    prompt: Annotated[Text, Field(max_length=MAX_PROMPT)] | None = Field(
        None, description="How captions begin, or the instruction; left out for the model's own."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="The same gives a picture the same captions.")
    model: Annotated[Text, Field(max_length=200)] | None = Field(
        None, description="A model that captions and is served here; left out for the one that is set."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.n > 1 and self.sampling == "greedy":
            raise ValueError("Greedy sampling gives one caption; take beam or nucleus for more.")
        return self


class CaptionAnswer(Answer):
    """One caption."""

    text: str
    log_probability: float = Field(description="Of its tokens by the model, in nats.")


class CaptionedAnswer(Answer):
    """The captions of one document, by its position in the request, the likeliest first."""

    index: int
    captions: list[CaptionAnswer]


class CaptionsAnswer(Answer):
    """Captions of all documents, in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5f1c…",
                    "model": "Salesforce/blip-image-captioning-large",
                    "results": [
                        {"index": 0, "captions": [{"text": "two boats at night", "log_probability": -4.2}]}
                    ],
                }
            ]
        }
    )

    id: str
    model: str
    results: list[CaptionedAnswer]
