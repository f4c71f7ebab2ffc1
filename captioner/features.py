"""Where a writer's features of stored images come from.

1. Its own feature set: what an earlier job stored.
2. The patches that the collection keeps, when the writer sees with the same image encoder.
3. The original, read, decoded and encoded; that is stored as a segment of the writer's own feature set.

Shapes: n images · P patches · V vision width · F, W a writer's features of one image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import (
    CorruptionError,
    ImageRejected,
    ModelMismatchError,
    NotFoundError,
)
from sightline.faultpoint import faultpoint
from sightline.store.codec_verdicts import CodecVerdicts
from sightline.store.segments import write_segment
from sightline.store.work_records import FeatureSegment
from sightline.types import AUTO_CODEC, FP16, INT8, NO_PATCHES

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.patch_formats import PackedPatches, PatchFormat
    from sightline.blip.protocols import Writer
    from sightline.captioner.parts import CaptionerParts, Identified, Transfer
    from sightline.store.records import Collection, Image, ImageLocation

log = logging.getLogger(__name__)

Refusals = dict[int, ImageRejected]
"""By key."""


class Features:
    """Features of one collection's images for one writer; one for each task or request, in one thread.

    ``refused`` fills with the images that cannot be seen, by key.
    """

    def __init__(
        self, parts: CaptionerParts, collection: Collection, writer: Writer, identity: Identified
    ) -> None:
        self._parts = parts
        self._collection = collection
        self._writer = writer
        self._identity = identity
        self._own = self._own_set()
        self._transfer = parts.sharing(collection, identity)
        self._placed: set[int] = set()
        """Keys that the own set has, be it damaged."""
        self._fresh: list[tuple[int, PackedPatches]] = []
        self.refused: Refusals = {}

    def of(self, images: Sequence[Image]) -> tuple[list[Image], Tensor]:
        """The images that can be seen, in their order, and their features ``[n,F,W]``.

        In fp32, on the writer's device.
        """
        import torch

        found: dict[int, Tensor] = {}
        with torch.inference_mode():
            for keys, features_nFW in self._stored([image.key for image in images]):
                found |= zip(keys, features_nFW.float(), strict=True)
            missing = [image for image in images if image.key not in found]
            for keys, features_nFW in self._seen(missing):
                found |= zip(keys, features_nFW.float(), strict=True)
            good = [image for image in images if image.key in found]
            rows = [found[image.key].to(self._writer.device) for image in good]
            shape = (0, *self._writer.feature_shape)
            return good, torch.stack(rows) if rows else torch.empty(shape, device=self._writer.device)

    def segment(self) -> FeatureSegment | None:
        """What had to be made of originals, written as a segment that no row names yet; None: nothing, or it
        is not to be kept."""
        if not self._fresh:
            return None
        from sightline.blip.patch_formats import PackedPatches

        keys = np.array([key for key, _ in self._fresh], np.int64)
        packed = PackedPatches.joined([one for _, one in self._fresh])
        none = np.empty((len(keys), 0, 0), np.float16)
        identity = self._identity
        own = self._parts.catalog.ensure_feature_set(
            self._collection.id, identity.model, identity.revision, identity.fingerprint
        )
        folder, codec = self._parts.segments.folder, self._form().codec
        segment = write_segment(folder, keys, none, packed.patches, codec, packed.scales)
        faultpoint("features.written")
        return FeatureSegment(own.id, segment)

    def _own_set(self) -> int | None:
        """The id of the writer's feature set, unless it is the one that serves: that holds patches."""
        own = self._parts.catalog.feature_set(self._collection.id, self._identity.fingerprint)
        return None if own is None or own.id == self._collection.feature_set_id else own.id

    # --- 1 and 2: what is stored ------------------------------------------------------------------

    def _stored(self, keys: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
        left = list(keys)
        if self._own is not None:
            places = self._parts.catalog.locations(keys, self._own)
            self._placed |= places.keys()
            for found, kept in self._gathered(places, self._identity.fingerprint):
                left = [key for key in left if key not in found]
                yield found, _whole(kept)
        if left and self._transfer is not None:
            places = self._parts.catalog.locations(left)
            for found, kept in self._gathered(places, self._collection.fingerprint):
                yield found, self._writer.features(self._transferred(self._transfer, kept))

    @staticmethod
    def _transferred(transfer: Transfer, kept: Tensor | Latents) -> Tensor:
        return transfer.apply(_whole(kept))

    def _gathered(
        self, places: Mapping[int, ImageLocation], fingerprint: str
    ) -> Iterator[tuple[list[int], Tensor | Latents]]:
        """Keys and what is kept of them, by codec; what is damaged counts as not stored."""
        usable = [place for place in places.values() if self._readable(place, fingerprint)]
        if not usable:
            return
        found = self._parts.segments.gather_sound(usable)
        for at, error in found.lost.items():
            log.warning("The features of key %d are made again: %s", usable[at].key, error)
        for group in found.groups:
            form = self._parts.formats.of(group.codec, fingerprint)
            kept = form.unpack(group.patches, group.scales, self._writer.device)
            yield [usable[at].key for at in group.positions], kept

    def _readable(self, place: ImageLocation, fingerprint: str) -> bool:
        if place.codec == NO_PATCHES:
            return False
        try:
            self._parts.formats.of(place.codec, fingerprint)
        except (OSError, NotFoundError, CorruptionError, ModelMismatchError) as error:
            log.warning("The features of key %d are made again: %s", place.key, error)
            return False
        return True

    # --- 3: originals -----------------------------------------------------------------------------

    def _seen(self, images: Sequence[Image]) -> Iterator[tuple[list[int], Tensor]]:
        for some in self._parts.reencoding.encode(self._writer, images):
            self.refused |= {image.key: error for image, error in some.refused}
            if some.patches is None:
                continue
            features_nFW = self._writer.features(some.patches)
            sound = features_nFW.half().isfinite().all(dim=2).all(dim=1).tolist()
            for image, is_sound in zip(some.images, sound, strict=True):
                if not is_sound:
                    rejected = ImageRejected("internal", "The model's numbers are not finite.")
                    self.refused[image.key] = rejected
            rows = [row for row, is_sound in enumerate(sound) if is_sound]
            if rows:
                keys = [some.images[row].key for row in rows]
                yield keys, self._kept(keys, features_nFW[rows])

    def _kept(self, keys: Sequence[int], features_nFW: Tensor) -> Tensor:
        """Keep them; they come back as they will be read: a later job writes the same from them."""
        form = self._form()
        if form.codec == NO_PATCHES or self._identity.fingerprint == self._collection.fingerprint:
            return features_nFW
        for row, key in enumerate(keys):
            if key not in self._placed:
                self._fresh.append((key, form.pack(features_nFW[row : row + 1])))
        packed = form.pack(features_nFW)
        assert packed.patches is not None  # the form keeps some
        return _whole(form.unpack(packed.patches, packed.scales, self._writer.device))

    def _form(self) -> PatchFormat:
        """Query outputs are small and kept in fp16; patches as those of the collection, but in int8 where
        those are a latent, which is fitted to their model."""
        from sightline.blip.patch_formats import PatchFormat

        asked: str = self._parts.patch_codec
        if not self._writer.features_are_patches:
            return PatchFormat(FP16)
        if asked == AUTO_CODEC:
            chosen = CodecVerdicts(self._parts.segments.folder).find(self._collection)
            asked = FP16 if chosen is None else chosen.codec
        return PatchFormat(asked if asked in (NO_PATCHES, FP16) else INT8)


def _whole(kept: Tensor | Latents) -> Tensor:
    from sightline.blip.latents import Latents

    return kept.patches() if isinstance(kept, Latents) else kept
