"""Images and uploads over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from sightline.api.discretion import shown_uri
from sightline.api.schemas.common import Answer, ImageId, JsonObject, Moment, Request, Text
from sightline.api.schemas.jobs import JobAnswer
from sightline.api.urls import file_url, thumbnail_url
from sightline.store.records import Image

Caption = Annotated[Text, Field(max_length=10_000)]


class UploadItem(Request):
    """What the form field ``items`` may say about one file: same position, every field optional."""

    id: ImageId | None = Field(None, description="The image id; the SHA-256 of the bytes when not given.")
    caption: Caption | None = None
    metadata: JsonObject = Field(default_factory=dict)


UploadItems = TypeAdapter(Annotated[list[UploadItem], Field(fail_fast=True)])


class UploadLineAnswer(Answer):
    """What became of one file of an upload."""

    index: int
    filename: str | None
    id: str
    status: Literal["pending", "unchanged", "failed"]
    reason: str | None = None
    detail: str | None = None


class UploadAnswer(Answer):
    """The job that embeds what was uploaded, and one line per file, in order."""

    job: JobAnswer
    files: list[UploadLineAnswer]


class ImageChange(Request):
    """Replace the caption and/or the whole metadata; what is left out stays, a null caption is removed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"caption": "two boats", "metadata": {"year": 2026}}]}
    )

    caption: Caption | None = None
    metadata: JsonObject = Field(default_factory=dict)


class ImageAnswer(Answer):
    """One image. ``width`` and ``height`` are pixels of the upright picture, known once it was embedded."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "2026/beach.jpg",
                    "collection": "holidays",
                    "state": "live",
                    "sha256": "5d41402abc…",
                    "uri": "/srv/pictures/2026/beach.jpg",
                    "caption": "a dog on a beach",
                    "metadata": {"year": 2026},
                    "width": 1600,
                    "height": 1200,
                    "bytes": 482113,
                    "file_url": "/v1/collections/holidays/images/2026%2Fbeach.jpg/file?v=5d41402a",
                    "thumbnail_url": "/v1/collections/holidays/images/2026%2Fbeach.jpg/thumbnail?v=5d41402a",
                    "created_at": "2026-11-23T22:40:00Z",
                    "published_at": "2026-11-23T22:40:03Z",
                }
            ]
        }
    )

    id: str
    collection: str
    state: str
    sha256: str
    uri: str = Field(description="Where it came from, or the id where this server does not show that.")
    caption: str | None
    metadata: dict[str, Any]
    width: int | None
    height: int | None
    bytes: int
    file_url: str
    thumbnail_url: str
    created_at: Moment
    published_at: Moment | None


class ImageList(Answer):
    """One page; pass ``next_cursor`` as ``cursor`` for the next, null on the last."""

    items: list[ImageAnswer]
    next_cursor: str | None


def image_answer(image: Image, collection: str, root: str = "") -> ImageAnswer:
    """One catalog record as JSON."""
    place = (collection, image.image_id, image.sha256, root)
    return ImageAnswer.of(
        image,
        id=image.image_id,
        collection=collection,
        uri=shown_uri(image.image_id, image.uri),
        file_url=file_url(*place),
        thumbnail_url=thumbnail_url(*place),
    )
