"""Collections over HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ConfigDict, Field

from sightline.api.discretion import shown_name
from sightline.api.schemas.common import Answer, CollectionName, Moment, Request, Text
from sightline.store.records import Collection


class NewCollection(Request):
    """Ask for a collection; the model is the installation's own unless named."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "holidays"}, {"name": "drawings", "model": "demo"}]}
    )

    name: CollectionName
    model: Text | None = Field(
        None, max_length=200, description="A hub id, or 'demo' for the model that ships."
    )
    revision: Text | None = Field(None, max_length=200, description="Branch, tag or commit on the hub.")


class CollectionChange(Request):
    """What of a collection may change."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"index": "auto"}]})

    index: Text | None = Field(
        max_length=40,
        description="The kind of index that it is to have: 'auto', 'exact' or the name of a kind; null: what "
        "the installation says. Searches go on while the builder builds it.",
    )


class CollectionAnswer(Answer):
    """A collection and what it holds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "holidays",
                    "model": "Salesforce/blip2-itm-vit-g",
                    "revision": None,
                    "fingerprint": "9f2c61…",
                    "images": 502,
                    "pending": 0,
                    "failed": 1,
                    "trashed": 2,
                    "index": None,
                    "segments": 4,
                    "bytes": 31457280,
                    "created_at": "2026-11-23T22:40:00Z",
                }
            ]
        }
    )

    name: str
    model: str
    revision: str | None
    fingerprint: str = Field(
        description="SHA-256 over the model's files: another model is another collection."
    )
    images: int = Field(description="Live images: what a search can find.")
    pending: int = Field(description="Registered, not searchable yet.")
    failed: int = Field(description="Images that could not be read or decoded.")
    trashed: int = Field(description="Deleted images that can be restored.")
    index: str | None = Field(
        description="The kind of index that was asked for; null: what the installation says."
    )
    segments: int
    bytes: int = Field(description="Size of its segments on disk.")
    created_at: Moment


class CollectionList(Answer):
    """All collections, by name."""

    items: list[CollectionAnswer]


def collection_answer(collection: Collection, counts: Mapping[str, int]) -> CollectionAnswer:
    """Join a catalog record with its counts."""
    counted = {name: counts[name] for name in ("pending", "failed", "trashed", "segments", "bytes")}
    return CollectionAnswer.of(
        collection,
        model=shown_name(collection.model),
        images=counts["live"],
        index=collection.index_kind,
        **counted,
    )
