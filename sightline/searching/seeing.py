"""Features of stored images, made of their originals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.protocols import Writer
    from sightline.errors import ImageRejected
    from sightline.searching.reencoding import Reencoding
    from sightline.store.records import Image


class Seen:
    """For one request, in one thread."""

    def __init__(self, reencoding: Reencoding, model: Writer) -> None:
        self._reencoding = reencoding
        self._model = model
        self.refused: dict[int, ImageRejected] = {}

    def of(self, images: Sequence[Image]) -> tuple[list[Image], Tensor]:
        """The images that can be seen, and their features."""
        import torch

        rows: dict[int, Tensor] = {}
        for some in self._reencoding.encode(self._model, images):
            self.refused |= {image.key: error for image, error in some.refused}
            if some.patches is not None:
                features = self._model.features(some.patches)
                rows |= {image.key: row for image, row in zip(some.images, features, strict=True)}
        good = [image for image in images if image.key in rows]
        shape = (0, *self._model.feature_shape)
        return good, torch.stack([rows[image.key] for image in good]) if good else torch.empty(shape)
