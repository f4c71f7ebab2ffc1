"""A picture that is asked with, in JSON: an address as a string, or an image of a collection."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from sightline.api.schemas.common import CollectionName, Request, StoredId
from sightline.api.schemas.documents import PictureUri

NO_PICTURE = 'Write a picture as a data URI, "data:image/png;base64,…", or a stored one as {"id": …}.'


class StoredPicture(Request):
    """An image that is indexed already."""

    id: Annotated[StoredId, Field(min_length=1)]
    collection: CollectionName | None = Field(
        None, description="Whose it is; left out for the collection that is searched."
    )


def _kind_of(value: Any) -> str | None:
    if isinstance(value, str):
        return "tag:uri"
    return "tag:id" if isinstance(value, dict | StoredPicture) else None


def _refuse_others(value: Any) -> Any:
    if _kind_of(value) is None:
        raise ValueError(NO_PICTURE)
    return value


QueryPicture = Annotated[
    Annotated[PictureUri, Tag("tag:uri")] | Annotated[StoredPicture, Tag("tag:id")],
    Discriminator(_kind_of),
    BeforeValidator(_refuse_others),
]
"""What `/v1/rerank` takes as ``image`` of a document, or its stored documents."""
