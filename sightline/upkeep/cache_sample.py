"""Whole patches of some images of a collection: as the segments store them in fp16, else encoded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.store.conditions import Filter
from sightline.types import FP16

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from sightline.blip.protocols import RetrievalModel
    from sightline.searching.reencoding import Reencoding
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection, ImageLocation
    from sightline.store.segments import SegmentReader

AT_ONCE = 8


class WholePatches:
    """Patches of one collection's images without what compression would lose."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        reencoding: Reencoding,
        collection: Collection,
        model: RetrievalModel,
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._reencoding = reencoding
        self._collection = collection
        self._model = model
        self.encoded_again = 0
        """Images whose original had to be read."""

    def images(self, seed: int = 0) -> list[int]:
        """Keys of the live images: those stored in fp16 first, each half in a random order."""
        keys = self._catalog.filter_keys(self._collection.id, Filter())
        keys = np.random.default_rng(seed).permutation(keys)
        places = self._catalog.locations(keys.tolist())
        return sorted((int(key) for key in keys), key=lambda key: places[key].codec != FP16)

    def of(self, keys: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
        """Keys and patches ``[n,P,V]`` fp32 on the CPU, a few at a time; what cannot be had is left out."""
        places = self._catalog.locations(keys)
        for start in range(0, len(keys), AT_ONCE):
            part = [key for key in keys[start : start + AT_ONCE] if key in places]
            yield from self._stored([key for key in part if places[key].codec == FP16], places)
            yield from self._encoded([key for key in part if places[key].codec != FP16])

    def tokens(self, keys: Sequence[int]) -> NDArray[np.float32]:
        """Query tokens ``[N,Q,D]`` of images, from their segments."""
        return stored_tokens(self._catalog, self._segments, keys)

    def _stored(
        self, keys: list[int], places: dict[int, ImageLocation]
    ) -> Iterator[tuple[list[int], Tensor]]:
        import torch

        if keys:
            (gathered,) = self._segments.gather([places[key] for key in keys])
            yield keys, torch.from_numpy(gathered.patches).float()

    def _encoded(self, keys: list[int]) -> Iterator[tuple[list[int], Tensor]]:
        images = self._catalog.describe(self._collection.id, keys) if keys else {}
        for some in self._reencoding.encode(self._model, list(images.values())):
            if some.patches is not None:
                self.encoded_again += len(some.images)
                yield [image.key for image in some.images], some.patches.float().cpu()


def stored_tokens(catalog: Catalog, segments: SegmentReader, keys: Sequence[int]) -> NDArray[np.float32]:
    """Query tokens ``[N,Q,D]`` of images, from their segments."""
    places = catalog.locations(keys)
    rows = [segments.rows(places[key].file, "tokens", np.array([places[key].row])) for key in keys]
    return np.concatenate(rows).astype(np.float32)


def captions_of(catalog: Catalog, collection: Collection, keys: Sequence[int]) -> list[str]:
    """Different captions of these images, in their order."""
    images = catalog.describe(collection.id, keys)
    lines = [caption.strip() for key in keys for caption in (images[key].caption or "").splitlines()]
    return list(dict.fromkeys(line for line in lines if line))
