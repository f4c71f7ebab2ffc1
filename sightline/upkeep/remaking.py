"""The rows of a damaged segment, from wherever they can still be had.

Of each image, in this order: its row, where it is sound; its original, read, decoded and embedded anew; its
tokens alone, from the segment or from the generation that holds them: it is found as before, and its patches
are made from the original whenever that is there. What has none of these is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sightline.blip.patch_formats import PackedPatches, PatchFormat
from sightline.errors import CorruptionError, ModelMismatchError, NotFoundError, SightlineError
from sightline.store.segments import write_segment
from sightline.types import FP16, NO_PATCHES
from sightline.upkeep.sound_rows import sound_rows

if TYPE_CHECKING:
    from sightline.blip.patch_formats import PatchFormats
    from sightline.blip.protocols import RetrievalModel
    from sightline.errors import ImageRejected
    from sightline.searching.reencoding import Reencoded, Reencoding
    from sightline.serving.models import Models
    from sightline.store.index import CandidateIndex, Indexes
    from sightline.store.records import Collection, Generation, Image, NewSegment, Segment
    from sightline.store.segment_reader import SoundRows
    from sightline.store.segments import SegmentReader
    from sightline.types import Half


@dataclass
class _Rows:
    """Rows of one codec."""

    keys: list[int] = field(default_factory=list)
    tokens: list[Half] = field(default_factory=list)
    packed: list[PackedPatches] = field(default_factory=list)

    def add(self, keys: Sequence[int], tokens: Half, packed: PackedPatches) -> None:
        self.keys += keys
        self.tokens.append(tokens)
        self.packed.append(packed)


@dataclass
class Remade:
    """What was had: rows by codec. ``encoded`` counts images embedded anew, ``unread`` those kept as they are
    in a codec that is lost; ``bare``: ids of images without patches now; ``lost``: key → image, and why.
    """

    rows: dict[str, _Rows] = field(default_factory=dict)
    encoded: int = 0
    unread: int = 0
    bare: list[str] = field(default_factory=list)
    lost: dict[int, tuple[Image, str]] = field(default_factory=dict)

    def of(self, codec: str) -> _Rows:
        return self.rows.setdefault(codec, _Rows())


class Remaking:
    """Gathers rows and writes them as segments."""

    def __init__(
        self,
        segments: SegmentReader,
        formats: PatchFormats,
        models: Models,
        reencoding: Reencoding,
        indexes: Indexes,
    ) -> None:
        self._segments = segments
        self._formats = formats
        self._models = models
        self._reencoding = reencoding
        self._indexes = indexes

    def is_sound(self, collection: Collection, segment: Segment) -> bool:
        """Whether the file is what was written and its codec can be read."""
        try:
            self._segments.verify(segment.file, segment.sha256)
        except (OSError, NotFoundError, CorruptionError):
            return False
        return self._form(collection, segment.codec) is not None

    def remake(
        self, collection: Collection, segment: Segment, images: Sequence[Image], generation: Generation | None
    ) -> Remade:
        """All that can be had of these images of a segment."""
        form, found = self._form(collection, segment.codec), sound_rows(self._segments, segment)
        rows = _places(found)
        others: dict[int, Image] = {}
        remade = Remade()
        for image in images:
            row = rows.get(image.key)
            if form is not None and found is not None and _has_patches(found, row):
                _keep(remade.of(segment.codec), found, row, image)
            else:
                others[image.key] = image
        refused = dict(self._encode(collection, form or PatchFormat(FP16), list(others.values()), remade))
        indexed = self._indexed(generation) if refused else None
        for key, error in refused.items():
            self._rescue(others[key], error, segment, found, rows.get(key), indexed, remade)
        return remade

    def encode(self, collection: Collection, images: Sequence[Image]) -> Remade:
        """Images that no segment has, from their originals; those that cannot be had are lost still."""
        remade = Remade()
        by_key = {image.key: image for image in images}
        for key, error in self._encode(collection, PatchFormat(FP16), images, remade):
            remade.lost[key] = (by_key[key], error.detail)
        return remade

    def write(self, remade: Remade) -> list[NewSegment]:
        """One segment for each codec, durable; the catalog does not name them yet."""
        return [self._write(codec, rows) for codec, rows in sorted(remade.rows.items())]

    def _write(self, codec: str, rows: _Rows) -> NewSegment:
        order = np.argsort(rows.keys)
        packed = PackedPatches.joined(rows.packed)
        return write_segment(
            self._segments.folder,
            np.array(rows.keys, np.int64)[order],
            np.concatenate(rows.tokens)[order],
            None if packed.patches is None else packed.patches[order],
            codec,
            None if packed.scales is None else packed.scales[order],
        )

    def _form(self, collection: Collection, codec: str) -> PatchFormat | None:
        """None when its codec is lost: images are kept in fp16 then; the builder compresses them again."""
        try:
            return self._formats.of(codec, collection.fingerprint)
        except (OSError, NotFoundError, CorruptionError, ModelMismatchError):
            return None

    def _encode(
        self, collection: Collection, form: PatchFormat, images: Sequence[Image], remade: Remade
    ) -> Iterator[tuple[int, ImageRejected]]:
        """Embed what can be read into ``remade``; the others, with the reason."""
        if not images:
            return
        model = self._models.encoder(collection)
        for some in self._reencoding.encode(model, images):
            if some.patches is not None:
                tokens, packed = _embedded(model, some, form)
                remade.of(form.codec).add([image.key for image in some.images], tokens, packed)
                remade.encoded += len(some.images)
            yield from ((image.key, error) for image, error in some.refused)

    def _indexed(self, generation: Generation | None) -> CandidateIndex | None:
        """The generation, if it holds all tokens once more; None when it is not sound either."""
        if generation is None:
            return None
        try:
            backend = self._indexes.of(generation.kind)
            return backend.open(generation.file, generation.sha256) if backend.exact else None
        except (OSError, SightlineError):
            return None

    def _rescue(
        self,
        image: Image,
        error: ImageRejected,
        segment: Segment,
        found: SoundRows | None,
        row: int | None,
        indexed: CandidateIndex | None,
        remade: Remade,
    ) -> None:
        """An image whose original cannot be had."""
        if found is not None and row is not None and found.tokens[row]:
            if _has_patches(found, row):  # only their codec is lost, which may come back from a backup
                _keep(remade.of(segment.codec), found, row, image)
                remade.unread += 1
                return
            tokens: Half | None = found.content.tokens[row : row + 1]
        else:
            tokens = _tokens_in(indexed, image.key)
        if tokens is None:
            remade.lost[image.key] = (image, error.detail)
            return
        remade.of(NO_PATCHES).add([image.key], tokens, PackedPatches(None, None))
        remade.bare.append(image.image_id)


def _places(found: SoundRows | None) -> dict[int, int]:
    """key → row."""
    return {} if found is None else {key: row for row, key in enumerate(found.content.keys.tolist())}


def _has_patches(found: SoundRows, row: int | None) -> bool:
    return row is not None and bool(found.tokens[row] and found.patches[row])


def _keep(rows: _Rows, found: SoundRows, row: int | None, image: Image) -> None:
    """A row as it is."""
    assert row is not None  # it is sound
    content, one = found.content, slice(row, row + 1)
    patches = None if content.patches is None else content.patches[one]
    scales = None if content.scales is None else content.scales[one]
    rows.add([image.key], content.tokens[one], PackedPatches(patches, scales))


def _tokens_in(indexed: CandidateIndex | None, key: int) -> Half | None:
    """``[1,Q,D]`` from a generation."""
    if indexed is None:
        return None
    (places,) = np.nonzero(indexed.keys == key)
    if not len(places):
        return None
    first = int(places[0]) * indexed.queries
    return indexed.tokens_at(np.arange(first, first + indexed.queries))[None]


def _embedded(model: RetrievalModel, some: Reencoded, form: PatchFormat) -> tuple[Half, PackedPatches]:
    """Tokens ``[n,Q,D]`` and packed patches of what was encoded again."""
    import torch

    assert some.patches is not None
    with torch.inference_mode():
        tokens = model.encode_image(some.patches).to("cpu", torch.float16).numpy()
        return tokens, form.pack(some.patches)
