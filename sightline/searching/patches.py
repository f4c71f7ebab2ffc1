"""Patches of stored images: from their segment, else the original is encoded again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError, ImageRejected, ModelMismatchError, NotFoundError
from sightline.types import NO_PATCHES

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.patch_formats import PatchFormats
    from sightline.blip.protocols import Vision
    from sightline.reranker.records import PatchGroup
    from sightline.searching.reencoding import Reencoding
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection, ImageLocation
    from sightline.store.segments import GatheredPatches, SegmentReader


class PatchCache:
    """The patches of an installation's images. Thread-safe."""

    def __init__(
        self, catalog: Catalog, segments: SegmentReader, formats: PatchFormats, reencoding: Reencoding
    ) -> None:
        self.catalog = catalog
        self.segments = segments
        self.formats = formats
        self.reencoding = reencoding

    def of(self, collection: Collection, model: Vision) -> CollectionPatches:
        """The source of one request: one collection, one model."""
        return CollectionPatches(self, collection, model)


class CollectionPatches:
    """The ``PatchSource`` of one request, in one thread. What it had to encode it keeps."""

    def __init__(self, cache: PatchCache, collection: Collection, model: Vision) -> None:
        self._cache = cache
        self._collection = collection
        self._model = model
        self._encoded: dict[int, Tensor] = {}

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        """Patches of ``keys`` on the model's device: one group for each codec that stores some of them, one
        for what had to be encoded again.

        Raises:
            ImageRejected: an image has no patches and its original cannot be had any more.
        """
        import torch

        from sightline.reranker.records import PatchGroup

        places = self._cache.catalog.locations(keys)
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
        gathered = self._cache.segments.gather([places[keys[row]] for row in rows])
        return [PatchGroup([rows[at] for at in one.positions], self._unpacked(one)) for one in gathered]

    def _unpacked(self, gathered: GatheredPatches) -> Tensor | Latents:
        form = self._cache.formats.of(gathered.codec, self._collection.fingerprint)
        return form.unpack(gathered.patches, gathered.scales, self._model.device)

    def _encode_missing(self, keys: Sequence[int]) -> None:
        """Encode the originals of images that no segment holds; complains after it has done what it could."""
        if not keys:
            return
        images = self._cache.catalog.describe(self._collection.id, keys)
        found = [images[key] for key in keys if key in images]
        for some in self._cache.reencoding.encode(self._model, found):
            if some.patches is not None:
                kept = some.patches.half().cpu()
                self._encoded |= {image.key: row for image, row in zip(some.images, kept, strict=True)}
        lost = [key for key in keys if key not in self._encoded]
        if lost:
            name = images[lost[0]].image_id if lost[0] in images else f"with key {lost[0]}"
            raise ImageRejected("unreadable", f"Image {name} has no patches and its original cannot be used.")

    def _readable(self, location: ImageLocation) -> bool:
        if location.codec == NO_PATCHES:
            return False
        try:
            self._cache.formats.of(location.codec, self._collection.fingerprint)
            self._cache.segments.tokens(location.file)
        except (OSError, NotFoundError, CorruptionError, ModelMismatchError):
            return False
        return True
