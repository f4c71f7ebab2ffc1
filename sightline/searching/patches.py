"""Patches of stored images: from their segment, else the original is encoded again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
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
    from sightline.store.segment_patches import GatheredPatches
    from sightline.store.segments import SegmentReader

log = logging.getLogger(__name__)


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
    """The ``PatchSource`` of one request, in one thread. What it had to encode it keeps.

    Every row is checked as it is read; what is damaged or missing counts as not stored.
    """

    def __init__(self, cache: PatchCache, collection: Collection, model: Vision) -> None:
        self._cache = cache
        self._collection = collection
        self._model = model
        self._encoded: dict[int, Tensor] = {}
        self._damaged: set[int] = set()
        """Keys whose patches were stored and cannot be had."""
        self._lost: set[int] = set()
        """Those among all keys whose original cannot be had either."""

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]:
        """Patches of ``keys`` on the model's device: one group for each codec that stores some of them, one
        for what had to be encoded again.

        Raises:
            ImageRejected: an image has no patches and its original cannot be had any more.
        """
        import torch

        from sightline.reranker.records import PatchGroup

        groups = self._stored(keys)
        stored = {row for group in groups for row in group.rows}
        rows = [row for row in range(len(keys)) if row not in stored]
        self._encode_missing([keys[row] for row in rows if keys[row] not in self._encoded])
        if rows:
            again = torch.stack([self._encoded[keys[row]] for row in rows])
            groups.append(PatchGroup(rows, again.to(self._model.device)))
        return groups

    def degraded(self) -> tuple[str, ...]:
        """What the scores of this request had to do without, in sentences."""
        again = len(self._damaged - self._lost)
        told = (
            (again, "The stored patches of {} are damaged; they were made again from the original."),
            (len(self._lost), "{} could not be judged: neither patches nor original can be had."),
        )
        return tuple(said.format(f"{n:,} image{'' if n == 1 else 's'}") for n, said in told if n)

    def _stored(self, keys: Sequence[int]) -> list[PatchGroup]:
        """What segments hold of ``keys`` and is sound."""
        from sightline.reranker.records import PatchGroup

        places = self._cache.catalog.locations(keys)
        rows = [row for row, key in enumerate(keys) if key in places and self._is_kept(places[key])]
        if not rows:
            return []
        found = self._cache.segments.gather_sound([places[keys[row]] for row in rows])
        for at, error in found.lost.items():
            self._note(keys[rows[at]], error)
        return [PatchGroup([rows[at] for at in one.positions], self._unpacked(one)) for one in found.groups]

    def _is_kept(self, place: ImageLocation) -> bool:
        """Whether patches were stored that have not been found damaged, in a codec that can be read."""
        if place.codec == NO_PATCHES or place.key in self._damaged:
            return False
        try:
            self._cache.formats.of(place.codec, self._collection.fingerprint)
        except (OSError, NotFoundError, CorruptionError, ModelMismatchError) as error:
            self._note(place.key, error)
            return False
        return True

    def _note(self, key: int, error: Exception) -> None:
        log.warning("The patches of key %d are made again from its original: %s", key, error)
        self._damaged.add(key)

    def _unpacked(self, gathered: GatheredPatches) -> Tensor | Latents:
        form = self._cache.formats.of(gathered.codec, self._collection.fingerprint)
        return form.unpack(gathered.patches, gathered.scales, self._model.device)

    def _encode_missing(self, keys: Sequence[int]) -> None:
        """Encode the originals of images that no segment holds; complains after it has done what it could."""
        untried = [key for key in keys if key not in self._lost]
        # A picture that was replaced meanwhile is still the one that this search found.
        images = self._cache.catalog.describe_found(self._collection.id, untried) if untried else {}
        for some in self._cache.reencoding.encode(self._model, list(images.values())):
            if some.patches is not None:
                kept = some.patches.half().cpu()
                self._encoded |= {image.key: row for image, row in zip(some.images, kept, strict=True)}
        lost = [key for key in keys if key not in self._encoded]
        self._lost.update(lost)
        if lost:
            name = images[lost[0]].image_id if lost[0] in images else f"with key {lost[0]}"
            raise ImageRejected("unreadable", f"Image {name} has no patches and its original cannot be used.")
