"""Texts about images over HTTP: what was given, written and judged, and the jobs that do it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from sightline.api.schemas.common import Answer, ImageId, JsonObject, Moment, Request, Text
from sightline.blip.sampling import SamplingName
from sightline.store.text_records import StoredText, TextPage

MOST_TEXTS = 20
"""Captions of one image that one job writes, at most."""
ModelName = Annotated[Text, Field(min_length=1, max_length=1000)]
Prompt = Annotated[Text, Field(max_length=1000, description="How captions begin; for some models, the instruction.")]


class _Writing(Request):
    """What a job that writes captions can be told."""

    n: int = Field(3, ge=1, le=MOST_TEXTS, description="Captions for each image.")
    prompt: Prompt | None = None
    ids: list[ImageId] | None = Field(
        None, min_length=1, max_length=10_000, fail_fast=True, description="Only these images."
    )
    filter: JsonObject | None = Field(None, description="Only images that pass: see docs/http.md.")

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.ids is not None and self.filter is not None:
            raise ValueError("Give ids or a filter, not both.")
        return self


class NewCaptions(_Writing):
    """A job that writes captions for a collection."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"n": 1}, {"model": "Salesforce/blip-image-captioning-large", "n": 3}]}
    )

    n: int = Field(1, ge=1, le=MOST_TEXTS, description="Captions for each image.")
    model: ModelName | None = Field(None, description="Who writes; null: the installation's captioner.")
    sampling: SamplingName = Field("beam", description="How words are chosen.")


class NewCapFilt(_Writing):
    """A job that writes captions, judges them and the images' own texts by ITM, and drops what does not match."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"n": 5, "keep_above": 0.6}]})

    n: int = Field(3, ge=0, le=MOST_TEXTS, description="Captions written for each image; 0: judge own texts only.")
    captioner: ModelName | None = Field(None, description="Who writes; null: the installation's captioner.")
    keep_above: float | None = Field(
        None, ge=0, le=1, description="The match probability from which a text is kept; null: the default."
    )
    text_fields: list[Annotated[Text, Field(min_length=1, max_length=200)]] = Field(
        [], max_length=20, description="Names in the metadata that hold texts of the image, such as alt."
    )


class TextAnswer(Answer):
    """One text about one image."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 17,
                    "image_id": "2026/beach.jpg",
                    "source": "captioner",
                    "model": "3f8a…",
                    "text": "a dog on a beach",
                    "log_probability": -4.1,
                    "match_probability": 0.97,
                    "verdict": "kept",
                    "overruled": False,
                    "created_at": "2026-11-23T22:40:00Z",
                }
            ]
        }
    )

    id: int
    image_id: str
    source: str = Field(description="given, metadata.FIELD, or captioner.")
    model: str | None = Field(description="Fingerprint of the model that wrote it.")
    text: str
    log_probability: float | None
    match_probability: float | None
    verdict: Literal["unjudged", "kept", "dropped"]
    overruled: bool = Field(description="Whether a person decided; no job changes that.")
    created_at: Moment


class TextList(Answer):
    """One page; pass ``next_cursor`` as ``cursor`` for the next, null on the last."""

    items: list[TextAnswer]
    next_cursor: str | None
    total: int


class NewVerdict(Request):
    """What a person decides about a text."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"verdict": "kept"}]})

    verdict: Literal["kept", "dropped"]


class TextCountAnswer(Answer):
    """So many texts of one source with one verdict."""

    source: str
    verdict: Literal["unjudged", "kept", "dropped"]
    overruled: bool
    texts: int


class CapFiltAnswer(Answer):
    """What was kept and dropped of each source, examples of both, and how the probabilities lie."""

    counts: list[TextCountAnswer]
    histogram: list[int] = Field(description="Texts in each tenth of match probability, from 0 to 1.")
    kept: list[TextAnswer] = Field(description="A few examples.")
    dropped: list[TextAnswer] = Field(description="A few examples.")


def text_answer(text: StoredText) -> TextAnswer:
    """One record as JSON."""
    return TextAnswer.of(text)


def text_list(page: TextPage) -> TextList:
    """One page as JSON."""
    items = [text_answer(one) for one in page.items]
    return TextList(items=items, next_cursor=page.next_cursor, total=page.total)


