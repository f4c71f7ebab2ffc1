"""Pictures of collections that a request names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.errors import UnavailableError

if TYPE_CHECKING:
    from sightline.rerank_records import StoredImage
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
