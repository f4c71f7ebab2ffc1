"""The same bytes, embedded before: tokens and patches are copied out of their segment, without the model.

Patches that lie there in fp16 are compressed on the way when new images are; others are copied only when they
are kept as those of new images.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CorruptionError, NotFoundError
from sightline.indexer.embedding.batch import Picture
from sightline.types import FP16, NO_PATCHES

if TYPE_CHECKING:
    from sightline.blip.patch_formats import PatchFormat
    from sightline.indexer.parts import IndexerParts
    from sightline.store.records import Image, ImageLocation, Lease
    from sightline.store.segments import SegmentReader


def embedded_before(parts: IndexerParts, lease: Lease, format: PatchFormat) -> dict[str, Picture]:
    """Contents of this task that the collection has already, and be it in its trash, by SHA-256.

    What was buried or merged away since the look-up, or lies in a damaged segment, is left to the model.
    """
    wanted = [image.sha256 for image in lease.images]
    usable = {format.codec, FP16}
    found = parts.catalog.find_live_by_sha(lease.collection.id, wanted)
    found = {sha256: place for sha256, place in found.items() if place.codec in usable}
    if not found:
        return {}
    images = parts.catalog.kept_images(lease.collection.id, [place.key for place in found.values()])
    copies = {}
    for sha256, place in found.items():
        with suppress(NotFoundError, CorruptionError, KeyError):
            copies[sha256] = _copy(parts.segments, place, images[place.key], format)
    return copies


def _copy(segments: SegmentReader, place: ImageLocation, image: Image, format: PatchFormat) -> Picture:
    keys, row = segments.keys(place.file), np.array([place.row])
    if keys[place.row : place.row + 1].tolist() != [place.key]:
        raise CorruptionError(f"Row {place.row} of {place.file} is not the image that the catalog says.")
    picture = Picture(image.width or 0, image.height or 0, tokens=segments.rows(place.file, "tokens", row)[0])
    if place.codec == NO_PATCHES:
        return picture
    (kept,) = segments.gather([place])
    patches, scales = kept.patches, kept.scales
    if kept.codec != format.codec:
        import torch

        packed = format.pack(torch.from_numpy(patches))
        picture.patches = packed.patches[0] if packed.patches is not None else None
        scales = packed.scales
    else:
        picture.patches = patches[0]
    picture.scales = scales[0] if scales is not None else None
    return picture
