"""The trash over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from sightline.api.discretion import shown_name, shown_uri
from sightline.api.schemas.common import Answer, CollectionName, ImageId, Moment, Request
from sightline.store.records import Image
from sightline.store.trash_records import TrashedCollection


class TrashedImageAnswer(Answer):
    """A deleted image, which can be restored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "2026/beach.jpg",
                    "sha256": "5d41402abc…",
                    "uri": "/srv/pictures/2026/beach.jpg",
                    "caption": "a dog on a beach",
                    "metadata": {"year": 2026},
                    "trashed_at": "2026-11-23T22:40:00Z",
                }
            ]
        }
    )

    id: str
    sha256: str
    uri: str
    caption: str | None
    metadata: dict[str, Any]
    trashed_at: Moment


class TrashedImageList(Answer):
    """One page; pass ``next_cursor`` as ``cursor`` for the next, null on the last."""

    items: list[TrashedImageAnswer]
    next_cursor: str | None


class RestoreImages(Request):
    """Which deleted images to restore: their ids, or all."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["2026/beach.jpg"]}, {"all": True}]})

    ids: list[ImageId] | None = Field(None, min_length=1, max_length=10_000, fail_fast=True)
    all: bool = False

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.ids is not None) == self.all:
            raise ValueError("Give either ids or all.")
        return self


class RefusedAnswer(Answer):
    """An image that stays in the trash (``id_taken``), or is not in it (``not_found``)."""

    id: str
    reason: str
    detail: str


class RestoredAnswer(Answer):
    """What came back, and what did not."""

    restored: list[str]
    refused: list[RefusedAnswer]


class EmptiedAnswer(Answer):
    """How many images were given up."""

    emptied: int


class TrashedCollectionAnswer(Answer):
    """A deleted collection. Addresses name it by ``id``, or by its name: then the newest that had it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "~3~holidays",
                    "name": "holidays",
                    "model": "Salesforce/blip2-itm-vit-g",
                    "images": 502,
                    "pending": 0,
                    "trashed_at": "2026-11-23T22:40:00Z",
                }
            ]
        }
    )

    id: str
    name: str
    model: str
    images: int = Field(description="What a search would find again.")
    pending: int = Field(description="What would be embedded once it is restored.")
    trashed_at: Moment


class HeldAnswer(Answer):
    """How many deleted images a collection has."""

    collection: str
    images: int


class TrashAnswer(Answer):
    """Deleted collections, the newest first, and how many deleted images the others have."""

    items: list[TrashedCollectionAnswer]
    images: list[HeldAnswer]


class RestoreCollection(Request):
    """How to restore a collection: under its own name, or another."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"as": "holidays-2026"}]})

    new_name: Annotated[CollectionName | None, Field(alias="as")] = None


def trashed_image_answer(image: Image) -> TrashedImageAnswer:
    """One catalog record as JSON."""
    uri = shown_uri(image.image_id, image.uri)
    return TrashedImageAnswer.of(image, id=image.image_id, uri=uri)


def trashed_collection_answer(one: TrashedCollection) -> TrashedCollectionAnswer:
    """One catalog record as JSON."""
    return TrashedCollectionAnswer.of(one, model=shown_name(one.model))
