"""Lost or damaged segments, made again from the originals: same keys, one transaction each, searches go on.

A segment is left as it is when one of its originals cannot be had: the folder may just not be mounted now,
and the index may still find its images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.blip.patch_formats import PackedPatches, PatchFormat
from sightline.errors import CorruptionError, ImageRejected, ModelMismatchError, NotFoundError
from sightline.store.durable import publish_or_remove
from sightline.store.segments import write_segment
from sightline.types import FP16

if TYPE_CHECKING:
    from sightline.blip.patch_formats import PatchFormats
    from sightline.blip.protocols import RetrievalModel
    from sightline.searching.reencoding import Reencoded, Reencoding
    from sightline.serving.models import Models
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection, Image, NewSegment, Segment
    from sightline.store.segments import SegmentReader
    from sightline.types import Half


@dataclass(frozen=True)
class Repaired:
    """What became of one damaged segment. ``problem``: why it was left as it is."""

    collection: str
    file: str
    images: int
    problem: str | None = None


class Repair:
    """Makes segments again."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        formats: PatchFormats,
        models: Models,
        reencoding: Reencoding,
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._formats = formats
        self._models = models
        self._reencoding = reencoding

    def run(self) -> Iterator[Repaired]:
        """Make every segment again that is missing or not what was written; tells as it goes."""
        for collection in self._catalog.collections():
            for segment in self._catalog.snapshot(collection.name).segments:
                if not self._is_sound(collection, segment):
                    yield self._make_again(collection, segment)

    def _is_sound(self, collection: Collection, segment: Segment) -> bool:
        try:
            self._segments.verify(segment.file, segment.sha256)
            self._formats.of(segment.codec, collection.fingerprint)
        except (OSError, NotFoundError, CorruptionError, ModelMismatchError):
            return False
        return True

    def _format(self, collection: Collection, segment: Segment) -> PatchFormat:
        """As the segment stored them, or fp16 when its codec is lost: the builder compresses it again."""
        try:
            return self._formats.of(segment.codec, collection.fingerprint)
        except (OSError, NotFoundError, CorruptionError, ModelMismatchError):
            return PatchFormat(FP16)

    def _make_again(self, collection: Collection, segment: Segment) -> Repaired:
        images = self._images_of(collection, segment)
        try:
            new = self._write(collection, segment, images) if images else None
        except ImageRejected as error:
            return Repaired(collection.name, segment.file, len(images), str(error))
        replaced = publish_or_remove(
            self._segments.path(new),
            lambda: self._catalog.replace_segments(collection.id, [segment.id], new),
        )
        if not replaced:
            problem = "Its images changed meanwhile; try again."
            return Repaired(collection.name, segment.file, len(images), problem)
        self._segments.forget(segment.file)
        return Repaired(collection.name, segment.file, len(images))

    def _images_of(self, collection: Collection, segment: Segment) -> list[Image]:
        """The images of a segment that are live or in the trash, by key."""
        return self._catalog.kept_in(collection.id, segment.id)

    def _write(self, collection: Collection, segment: Segment, images: Sequence[Image]) -> NewSegment:
        """A segment with the same images, read, decoded and embedded anew.

        Raises:
            ImageRejected: an original cannot be read, is not what was indexed, or cannot be decoded any more.
        """
        model, form = self._models.encoder(collection), self._format(collection, segment)
        done: list[tuple[Half, PackedPatches]] = []
        for some in self._reencoding.encode(model, images):
            if some.refused:
                image, error = some.refused[0]
                raise ImageRejected(error.reason, f"{image.image_id}: {error.detail}")
            done.append(_embedded(model, some, form))
        keys = np.array([image.key for image in images], np.int64)
        packed = PackedPatches.joined([packed for _, packed in done])
        return write_segment(
            self._segments.folder,
            keys,
            np.concatenate([tokens for tokens, _ in done]),
            packed.patches,
            form.codec,
            packed.scales,
        )


def _embedded(model: RetrievalModel, some: Reencoded, form: PatchFormat) -> tuple[Half, PackedPatches]:
    """Tokens ``[n,Q,D]`` and packed patches of what was encoded again."""
    import torch

    assert some.patches is not None  # nothing was refused, and no batch is empty
    with torch.inference_mode():
        tokens = model.encode_image(some.patches).to("cpu", torch.float16).numpy()
        return tokens, form.pack(some.patches)
