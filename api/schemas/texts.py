"""Texts about images over HTTP: what was given, written and judged, and the jobs that do it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from sightline.api.schemas.common import Answer, ImageId, JsonObject, Moment, Request, Text
from sightline.blip.sampling import SamplingName
from sightline.captioner.report import CapFiltReport
from sightline.captioner.settings import MOST_CAPTIONS, MOST_FIELDS, MOST_IDS
from sightline.store.text_records import StoredText, TextPage

ModelName = Annotated[Text, Field(min_length=1, max_length=1000)]
Prompt = Annotated[
    Text, Field(max_length=1000, description="How captions begin; for some models, the instruction.")
]


class _Writing(Request):
    """What a job that writes captions can be told."""

    n: int = Field(1, ge=1, le=MOST_CAPTIONS, description="Captions for each image.")
    prompt: Prompt | None = None
    ids: list[ImageId] | None = Field(
        None, min_length=1, max_length=MOST_IDS, fail_fast=True, description="Only these images."
    )
    filter: JsonObject | None = Field(None, description="Only images that pass: see docs/http.md.")

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.ids is not None and self.filter is not None:
            raise ValueError("Give ids or a filter, not both.")
        return self


class NewCaptions(_Writing):
    """A job that writes captions for a collection."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"n": 1}, {"n": 3, "sampling": "nucleus"}]})

    n: int = Field(1, ge=1, le=MOST_CAPTIONS, description="Captions for each image.")
    model: ModelName | None = Field(None, description="Who writes; null: the installation's captioner.")
    sampling: SamplingName = Field("beam", description="How words are chosen.")


class NewCapFilt(_Writing):
    """A job that writes captions, judges these and the images' own texts by ITM, and drops what is wrong."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"n": 5, "keep_above": 0.6}]})

    n: int = Field(
        1, ge=0, le=MOST_CAPTIONS, description="Captions written for each image; 0: judge own texts only."
    )
    captioner: ModelName | None = Field(None, description="Who writes; null: the installation's captioner.")
    keep_above: float | None = Field(
        None, ge=0, le=1, description="The match probability from which a text is kept; null: the default."
    )
    text_fields: list[Annotated[Text, Field(min_length=1, max_length=200)]] = Field(
        [],
        max_length=MOST_FIELDS,
        description="Names in the metadata that hold texts of the image, such as alt.",
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


class SourceAnswer(Answer):
    """Texts of one source. ``overruled``: of all, those about which a person decided."""

    source: str
    kept: int
    dropped: int
    unjudged: int
    overruled: int


class ExampleAnswer(Answer):
    """A text, and the image that it is about."""

    id: str
    source: str
    text: str
    match_probability: float | None


class HistogramAnswer(Answer):
    """Texts in bars of equal width over the match probabilities from 0 to 1."""

    kept: list[int]
    dropped: list[int]


class CapFiltAnswer(Answer):
    """What was kept and dropped of each source, a few examples, and how the match probabilities lie."""

    job: str | None = Field(description="The job that it is about, or the latest one; null: there was none.")
    state: str | None = Field(description="That job's.")
    threshold: float | None = Field(description="The match probability from which on texts were kept.")
    sources: list[SourceAnswer]
    kept_examples: list[ExampleAnswer]
    dropped_examples: list[ExampleAnswer]
    histogram: HistogramAnswer


def text_answer(text: StoredText) -> TextAnswer:
    """One record as JSON."""
    return TextAnswer.of(text)


def capfilt_answer(report: CapFiltReport) -> CapFiltAnswer:
    """A report as JSON."""
    return CapFiltAnswer.model_validate({**report.to_json(), "threshold": report.threshold}, strict=False)


def text_list(page: TextPage) -> TextList:
    """One page as JSON."""
    items = [text_answer(one) for one in page.items]
    return TextList(items=items, next_cursor=page.next_cursor, total=page.total)
