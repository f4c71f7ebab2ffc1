"""The same bytes, embedded before: tokens and patches are copied out of their segment, without the model."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from base.errors import CorruptionError, NotFoundError
from indexer.batch import Picture

if TYPE_CHECKING:
    from indexer.services import IndexerServices
    from store.records import Image, ImageLocation, Lease
    from store.segments import SegmentReader


def embedded_before(services: IndexerServices, lease: Lease) -> dict[str, Picture]:
    """Contents of this task that the collection has already, by SHA-256.

    What was buried or merged away since the look-up, or lies in a damaged segment, is left to the model.
    """
    wanted = [image.sha256 for image in lease.images]
    codec = services.settings.patch_codec
    found = services.catalog.find_live_by_sha(lease.collection.id, wanted)
    found = {sha256: place for sha256, place in found.items() if place.codec == codec}
    if not found:
        return {}
    images = services.catalog.describe(lease.collection.id, [place.key for place in found.values()])
    copies = {}
    for sha256, place in found.items():
        with suppress(NotFoundError, CorruptionError, KeyError):
            copies[sha256] = _copy(services.segments, place, images[place.key])
    return copies


def _copy(segments: SegmentReader, place: ImageLocation, image: Image) -> Picture:
    content = segments.read(place.file)
    if place.row >= len(content.keys) or int(content.keys[place.row]) != place.key:
        raise CorruptionError(f"row {place.row} of {place.file} is not the image that the catalog says.")
    patches = content.patches[place.row] if content.patches is not None else None
    return Picture(image.width or 0, image.height or 0, tokens=content.tokens[place.row], patches=patches)
