"""Patches of stored images: from their segment, else the original is read, decoded and encoded again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError, ImageRejected, ModelMismatchError, NotFoundError
from sightline.indexer.codecs import keeping

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.protocols import RetrievalModel
    from sightline.reranker.records import PatchGroup
    from sightline.store.gathering import GatheredPatches
    from sightline.store.records import Collection, Image, ImageLocation
    from sightline.wiring import Services

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
        """Patches of ``keys`` on the model's device: one group for each codec that keeps some of them, one
        for what had to be encoded again.

        Raises:
            ImageRejected: an image has no patches and its original cannot be had any more.
        """
        import torch

        from sightline.reranker.records import PatchGroup

        places = self._services.catalog.locations(keys)
        stored = {key for key in keys if key in places and self._readable(places[key])}
        self._encode_missing([key for key in keys if key not in stored and key not in self._encoded])
        groups = self._stored([row for row, key in enumerate(keys) if key in stored], keys, places)
        encoded = [row for row, key in enumerate(keys) if key not in stored]
        if encoded:
            again = torch.stack([self._encoded[keys[row]] for row in encoded])
            groups.append(PatchGroup(encoded, again.to(self._model.device)))
        return groups

    def _stored(
        self, rows: Sequence[int], keys: Sequence[int], places: Mapping[int, ImageLocation]
    ) -> list[PatchGroup]:
        """What segments hold of ``keys``, of the ones at ``rows``."""
        from sightline.reranker.records import PatchGroup

        if not rows:
            return []
        gathered = self._services.segments.gather([places[keys[row]] for row in rows])
        return [PatchGroup([rows[at] for at in one.positions], self._unpacked(one)) for one in gathered]

    def _unpacked(self, gathered: GatheredPatches) -> Tensor | Latents:
        import torch

        values, device = torch.from_numpy(gathered.patches), self._model.device
        if gathered.scales is None:
            return values.to(device)
        kept = keeping(self._services.codecs, gathered.codec, self._collection.fingerprint)
        return kept.latents(values.to(device), torch.from_numpy(gathered.scales).to(device))

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
            keeping(self._services.codecs, location.codec, self._collection.fingerprint)
            self._services.segments.tokens(location.file)
        except (OSError, NotFoundError, CorruptionError, ModelMismatchError):
            return False
        return True

    def _encode(self, images: Sequence[Image]) -> None:
        """Encode originals again; what cannot be read or decoded is left out."""
        from sightline.indexer.originals import read_original

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
