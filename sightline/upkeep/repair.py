"""Lost or damaged segments, made again from the originals: same keys, one transaction each, searches go on.

A segment is left as it is when one of its originals cannot be had: the folder may just not be mounted now,
and the index may still find its images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CorruptionError, ImageRejected, ModelMismatchError, NotFoundError
from sightline.store.durable import publish_or_remove
from sightline.store.filters import Filter

if TYPE_CHECKING:
    from sightline.indexer.codecs import Keeping
    from sightline.store.records import Collection, Image, NewSegment, Segment
    from sightline.wiring import Services

CHUNK = 1_000
ENCODE_AT_ONCE = 8


@dataclass(frozen=True)
class Repair:
    """What became of one damaged segment. ``problem``: why it was left as it is."""

    collection: str
    file: str
    images: int
    problem: str | None = None


def repair(services: Services) -> Iterator[Repair]:
    """Make every segment again that is missing or not what was written; tells as it goes."""
    for collection in services.catalog.collections():
        snapshot = services.catalog.snapshot(collection.name)
        for segment in snapshot.segments:
            if not _sound(services, collection, segment):
                yield _make_again(services, collection, segment)


def _sound(services: Services, collection: Collection, segment: Segment) -> bool:
    from sightline.indexer.codecs import keeping

    try:
        services.segments.verify(segment.file, segment.sha256)
        keeping(services.codecs, segment.codec, collection.fingerprint)
    except (OSError, NotFoundError, CorruptionError, ModelMismatchError):
        return False
    return True


def _keeping(services: Services, collection: Collection, segment: Segment) -> Keeping:
    """As the segment kept them, or in fp16 when its codec is lost: the builder compresses it again."""
    from sightline.indexer.codecs import Keeping, keeping
    from sightline.store.segment_content import FP16

    try:
        return keeping(services.codecs, segment.codec, collection.fingerprint)
    except (OSError, NotFoundError, CorruptionError, ModelMismatchError):
        return Keeping(FP16)


def _make_again(services: Services, collection: Collection, segment: Segment) -> Repair:
    images = _images_of(services, collection, segment)
    try:
        new = _write(services, collection, segment, images) if images else None
    except ImageRejected as error:
        return Repair(collection.name, segment.file, len(images), str(error))
    replaced = publish_or_remove(
        services.segments.path(new),
        lambda: services.catalog.replace_segments(collection.id, [segment.id], new),
    )
    if not replaced:
        return Repair(collection.name, segment.file, len(images), "its images changed meanwhile; try again.")
    services.segments.forget(segment.file)
    return Repair(collection.name, segment.file, len(images))


def _images_of(services: Services, collection: Collection, segment: Segment) -> list[Image]:
    """The live images of a segment, by key."""
    keys = services.catalog.filter_keys(collection.id, Filter()).tolist()
    found: list[Image] = []
    for start in range(0, len(keys), CHUNK):
        images = services.catalog.describe(collection.id, keys[start : start + CHUNK])
        places = services.catalog.locations(list(images))
        found += [image for key, image in images.items() if places[key].segment_id == segment.id]
    return sorted(found, key=lambda image: image.key)


def _write(
    services: Services, collection: Collection, segment: Segment, images: Sequence[Image]
) -> NewSegment:
    """A segment with the same images, read, decoded and embedded anew.

    Raises:
        ImageRejected: an original cannot be read, is not what was indexed, or cannot be decoded any more.
    """
    from sightline.indexer.embedding.batch import Picture, stacked
    from sightline.indexer.embedding.encoding import encode, to_pixels
    from sightline.store.segments import write_segment

    model, kept_as = services.models.encoder(collection), _keeping(services, collection, segment)
    pictures: list[tuple[Image, Picture]] = []
    for start in range(0, len(images), ENCODE_AT_ONCE):
        part = images[start : start + ENCODE_AT_ONCE]
        pixels = [to_pixels(model, [_decode(services, image)]) for image in part]
        encoded = encode(model, pixels, kept_as)
        for row, image in enumerate(part):
            pictures.append((image, Picture(image.width or 0, image.height or 0)))
            pictures[-1][1].fill(*encoded, row)
    tokens, (patches, scales) = stacked(pictures)
    keys = np.array([image.key for image in images], np.int64)
    return write_segment(services.segments.folder, keys, tokens, patches, kept_as.codec, scales)


def _decode(services: Services, image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    from sightline.indexer.originals import read_original

    try:
        return services.decoder.decode(read_original(image, services.blobs)).rgb
    except ImageRejected as error:
        raise ImageRejected(error.reason, f"{image.image_id}: {error.detail}") from error
