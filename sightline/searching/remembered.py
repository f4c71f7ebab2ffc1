"""Features of stored images that were made a moment ago, for the next question about the same images.

In memory only, the longest unused are forgotten first. Whole collections are made ready by a job, which
stores their features (docs/asking.md).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.protocols import Writer
    from sightline.errors import ImageRejected
    from sightline.store.records import Image

MEMORY_BYTES: Final = 256 << 20
"""What is remembered in one process: 350 images of ViT-g patches, 5,000 of a BLIP-2's query outputs."""


class FeatureSource(Protocol):
    """Features of one collection's images for one model, in one thread (``captioner.features.Features``)."""

    @property
    def refused(self) -> Mapping[int, ImageRejected]:
        """Images that could not be seen, by key."""
        ...

    def of(self, images: Sequence[Image]) -> tuple[list[Image], Tensor]:
        """The images that can be seen, in their order, and their features ``[n,F,W]``."""
        ...


class FeatureMemory:
    """Rows by (model, key), for a whole process. Thread-safe. Keys are never used again."""

    def __init__(self, most_bytes: int = MEMORY_BYTES) -> None:
        self._most = most_bytes
        self._rows: OrderedDict[tuple[str, int], Tensor] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, fingerprint: str, key: int) -> Tensor | None:
        """Features ``[F,W]`` in fp16 in main memory; None: not remembered."""
        with self._lock:
            row = self._rows.get((fingerprint, key))
            if row is not None:
                self._rows.move_to_end((fingerprint, key))
            return row

    def put(self, fingerprint: str, key: int, row_FW: Tensor) -> None:
        """Remember a row; what is larger than everything that may be remembered is not."""
        size = row_FW.numel() * row_FW.element_size()
        if size > self._most:
            return
        with self._lock:
            if (fingerprint, key) in self._rows:
                return
            self._rows[fingerprint, key] = row_FW
            self._bytes += size
            while self._bytes > self._most:
                _, oldest = self._rows.popitem(last=False)
                self._bytes -= oldest.numel() * oldest.element_size()


class Remembered:
    """A feature source that asks another only for what is not remembered.

    Everything goes through fp16, as it is stored: an answer is the same the second time.
    """

    def __init__(self, source: FeatureSource, memory: FeatureMemory, model: Writer) -> None:
        self._source = source
        self._memory = memory
        self._model = model

    @property
    def refused(self) -> Mapping[int, ImageRejected]:
        """Images that could not be seen, by key."""
        return self._source.refused

    def of(self, images: Sequence[Image]) -> tuple[list[Image], Tensor]:
        """The images that can be seen, in their order, and their features ``[n,F,W]`` in fp32."""
        import torch

        known = {image.key: self._memory.get(self._model.fingerprint, image.key) for image in images}
        found = {key: row for key, row in known.items() if row is not None}
        missing = [image for image in images if image.key not in found]
        if missing:
            seen, features_nFW = self._source.of(missing)
            for image, row_FW in zip(seen, features_nFW.half().cpu(), strict=True):
                found[image.key] = row_FW.clone()  # a row alone, or it would keep all of them in memory
                self._memory.put(self._model.fingerprint, image.key, found[image.key])
        good = [image for image in images if image.key in found]
        rows = [found[image.key] for image in good]
        shape = (0, *self._model.feature_shape)
        features = torch.stack(rows) if rows else torch.empty(shape)
        return good, features.to(self._model.device, torch.float32)
