"""Pictures that come with a request or are stored, as what they are: decoded, or named by their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.errors import UnavailableError
from sightline.rerank_records import InlineImage, PendingImage, StoredImage

if TYPE_CHECKING:
    from sightline.rerank_records import RerankDocument
    from sightline.store.catalog import Catalog


def live_key(catalog: Catalog, image: StoredImage) -> int:
    """The key of a stored image that can be scored.

    Raises:
        NotFoundError: there is no such image, or collection.
        UnavailableError: it is not indexed yet.
    """
    found = catalog.image(image.collection, image.id)
    if found.state != "live":
        raise UnavailableError(f"Image {image.id} of {image.collection} is not indexed yet ({found.state}).")
    return found.key


def decoded(image: RerankDocument) -> RerankDocument:
    """The picture itself in place of a promise of it: promises of one picture are never equal, and a later
    one may have the name of an earlier. What decoding raises ends the request."""
    return InlineImage(image.decode()) if isinstance(image, PendingImage) else image
