"""Whole patches of some images of a collection: as the segments keep them in fp16, else encoded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CorruptionError, ImageRejected, NotFoundError
from sightline.store.filters import Filter
from sightline.store.segment_content import FP16

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.protocols import RetrievalModel
    from sightline.store.records import Collection, Image, ImageLocation
    from sightline.wiring import Services

AT_ONCE = 8


class WholePatches:
    """Patches of one collection's images without what compression would lose."""

    def __init__(self, services: Services, collection: Collection, model: RetrievalModel) -> None:
        self._services = services
        self._collection = collection
        self._model = model
        self.encoded_again = 0
        """Images whose original had to be read."""

    def images(self, seed: int = 0) -> list[int]:
        """Keys of the live images: those kept in fp16 first, each half in a random order."""
        keys = self._services.catalog.filter_keys(self._collection.id, Filter())
        keys = np.random.default_rng(seed).permutation(keys)
        places = self._services.catalog.locations(keys.tolist())
        return sorted((int(key) for key in keys), key=lambda key: places[key].codec != FP16)

    def of(self, keys: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
        """Keys and patches ``[n,P,V]`` fp32 on the CPU, a few at a time; what cannot be had is left out."""
        places = self._services.catalog.locations(keys)
        for start in range(0, len(keys), AT_ONCE):
            part = [key for key in keys[start : start + AT_ONCE] if key in places]
            stored = [key for key in part if places[key].codec == FP16]
            yield from self._stored(stored, places)
            yield from self._encoded([key for key in part if places[key].codec != FP16])

    def tokens(self, keys: Sequence[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Query tokens ``[N,Q,D]`` of images, from their segments."""
        places = self._services.catalog.locations(keys)
        rows = [self._services.segments.tokens(places[key].file)[1][places[key].row] for key in keys]
        return np.stack(rows).astype(np.float32)

    def _stored(
        self, keys: list[int], places: dict[int, ImageLocation]
    ) -> Iterator[tuple[list[int], Tensor]]:
        import torch

        if keys:
            (gathered,) = self._services.segments.gather([places[key] for key in keys])
            yield keys, torch.from_numpy(gathered.patches).float()

    def _encoded(self, keys: list[int]) -> Iterator[tuple[list[int], Tensor]]:
        images = self._services.catalog.describe(self._collection.id, keys) if keys else {}
        pairs = [(key, rgb) for key, image in images.items() for rgb in self._pictures(image)]
        if pairs:
            patches = self._model.encode_patches(self._model.preprocess([rgb for _, rgb in pairs]))
            self.encoded_again += len(pairs)
            yield [key for key, _ in pairs], patches.float().cpu()

    def _pictures(self, image: Image) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        """The picture of an image, if its original can still be had."""
        from sightline.indexer.originals import read_original

        try:
            yield self._services.decoder.decode(read_original(image, self._services.blobs)).rgb
        except (ImageRejected, NotFoundError, CorruptionError):
            return
