"""The picture that a search asks with: its query tokens, from where they are stored or by the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import ConflictError, UnavailableError
from sightline.rerank_records import PendingImage, StoredImage
from sightline.retriever.similar import SimilarImages
from sightline.searching.given_pictures import live_key

if TYPE_CHECKING:
    from sightline.blip.protocols import Encoder
    from sightline.rerank_records import RerankDocument
    from sightline.searching.search_parts import SearchParts
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection
    from sightline.types import Half


class QueryPicture:
    """A picture to ask a collection with. Whether a stored one can be used is looked up at once."""

    def __init__(self, parts: SearchParts, collection: Collection, image: RerankDocument) -> None:
        """Raises:
        NotFoundError: a stored image does not exist, or its collection.
        UnavailableError: it is not indexed yet.
        ConflictError: it was indexed with another model.
        """
        self._parts = parts
        self._image = image
        self._key: int | None = None
        self.own_key: int | None = None
        """Its key where it is an image of this very collection, which is no answer to itself."""
        if isinstance(image, StoredImage):
            _check_same_model(parts.catalog, collection, image)
            self._key = live_key(parts.catalog, image)
            self.own_key = self._key if image.collection == collection.name else None

    @property
    def needs_model(self) -> bool:
        """Whether its tokens have to be made."""
        return self._key is None

    def tokens(self, model: Encoder | None) -> Half:
        """Its query tokens fp16 ``[Q,D]``, in the numbers that segments hold.

        Raises:
            UnavailableError: those of a stored image cannot be read: without them it would be another
                question.
        """
        image = self._image
        if isinstance(image, StoredImage):
            assert self._key is not None
            return self._stored(image, self._key)
        assert model is not None
        rgb = image.decode() if isinstance(image, PendingImage) else image.rgb
        tokens_1QD = model.encode_image(model.encode_patches(model.preprocess([rgb])))
        return np.asarray(tokens_1QD[0].float().cpu().numpy(), np.float16)

    def _stored(self, image: StoredImage, key: int) -> Half:
        tokens = SimilarImages(self._parts.retriever).tokens(image.collection, key)
        if tokens is None:
            raise UnavailableError(
                f"The query tokens of image {image.id} cannot be read; run sightline repair, or send the "
                "picture itself."
            )
        return tokens


def _check_same_model(catalog: Catalog, collection: Collection, image: StoredImage) -> None:
    if image.collection == collection.name:
        return
    other = catalog.collection(image.collection)
    if other.fingerprint != collection.fingerprint:
        raise ConflictError(
            f"Image {image.id} of {other.name} was indexed with {other.model}, and {collection.name} with "
            f"{collection.model}; send the picture itself to look for others like it."
        )
