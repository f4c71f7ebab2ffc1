"""Patches of stored images: from their segment, else the original is read, decoded and encoded again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from base.errors import CorruptionError, ImageRejected, NotFoundError

if TYPE_CHECKING:
    from torch import Tensor

    from reranker.records import PatchGroup
    from sightline.models import RetrievalModel
    from sightline.wiring import Services
    from store.records import Collection, Image, ImageLocation

ENCODE_AT_ONCE = 8
"""Originals that are decoded and encoded together: bounds the memory of one miss."""


class CollectionPatches:
    """The ``PatchSource`` of one request: one collection, one model. What it had to encode it keeps."""

    def __init__(self, services: Services, collection: Collection, model: RetrievalModel) -> None:
        self._services = services
        self._collection = collection
        self._model = model
        self._encoded: dict[int, Tensor] = {}

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        """Patches of ``keys`` on the model's device: one group, as stored (fp16).

        Raises:
            ImageRejected: an image has no patches and its original cannot be had any more.
        """
        import torch

        from reranker.records import PatchGroup

        places = self._services.catalog.locations(keys)
        stored = [key for key in keys if key in places and self._readable(places[key])]
        self._encode_missing([key for key in keys if key not in stored and key not in self._encoded])
        result = torch.empty(len(keys), *self._model.patch_shape, dtype=torch.float16)
        if stored:
            rows = [row for row, key in enumerate(keys) if key in stored]
            gathered = self._services.segments.patches([places[keys[row]] for row in rows])
            result[rows] = torch.from_numpy(gathered)
        for row, key in enumerate(keys):
            if key in self._encoded:
                result[row] = self._encoded[key]
        return [PatchGroup(range(len(keys)), result.to(self._model.device))]

    def _encode_missing(self, keys: Sequence[int]) -> None:
        """Encode the originals of images that no segment holds; complains after it has done what it could."""
        images = self._services.catalog.describe(self._collection.id, keys) if keys else {}
        found = [images[key] for key in keys if key in images]
        for start in range(0, len(found), ENCODE_AT_ONCE):
            self._encode(found[start : start + ENCODE_AT_ONCE])
        lost = [key for key in keys if key not in self._encoded]
        if lost:
            name = images[lost[0]].image_id if lost[0] in images else f"with key {lost[0]}"
            raise ImageRejected("unreadable", f"image {name} has no patches and its original cannot be used.")

    def _readable(self, location: ImageLocation) -> bool:
        if location.codec == "none":
            return False
        try:
            self._services.segments.tokens(location.file)
        except (OSError, NotFoundError, CorruptionError):
            return False
        return True

    def _encode(self, images: Sequence[Image]) -> None:
        """Encode originals again; what cannot be read or decoded is left out."""
        from indexer.originals import read_original

        kept: list[Image] = []
        data: list[bytes] = []
        for image in images:
            try:
                data.append(read_original(image, self._services.blobs))
                kept.append(image)
            except ImageRejected:
                continue
        decoded = self._services.decoder.decode_many(data) if data else []
        good = [
            (image, one.rgb)
            for image, one in zip(kept, decoded, strict=True)
            if not isinstance(one, ImageRejected)
        ]
        if good:
            patches = self._model.encode_patches(self._model.preprocess([rgb for _, rgb in good]))
            self._encoded |= {
                image.key: row.half().cpu() for (image, _), row in zip(good, patches, strict=True)
            }
