"""The pictures of a run as tables on disk, filled by all ranks together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.blip.blip2 import Blip2
from sightline.blip.pixels import PixelConfig, resize
from sightline.evaluation.data import Picture
from sightline.evaluation.tables import Encode, PictureTable, encode_patches, fill, identity
from sightline.types import RGB, OnProgress


@dataclass(frozen=True)
class Filler:
    """Opens and fills tables below ``folder``; ``accelerator`` is accelerate's."""

    folder: Path
    accelerator: Any
    batch_size: int
    on_progress: OnProgress | None = None

    def patches(self, model: Blip2, pictures: Sequence[Picture]) -> PictureTable:
        """``[N, P, V]``, fp16, by the model's image encoder."""
        name = identity(pictures, model.fingerprint)
        return self._fill(pictures, name, model.patch_shape, encode_patches(model))

    def pixels(self, config: PixelConfig, pictures: Sequence[Picture]) -> PictureTable:
        """``[N, S, S, 3]``, uint8: resized once, so that an epoch decodes no files."""

        def encode(images: list[RGB]) -> NDArray[Any]:
            return np.stack([resize(image, config.side, config.resample) for image in images])

        name = identity(pictures, f"pixels {config.resample}")
        return self._fill(pictures, name, (config.side, config.side, 3), encode)

    def _fill(
        self, pictures: Sequence[Picture], name: str, shape: tuple[int, ...], encode: Encode
    ) -> PictureTable:
        with self.accelerator.main_process_first():
            table = PictureTable(
                self.folder, name, len(pictures), shape, "uint8" if len(shape) == 3 else "float16"
            )
        share = (int(self.accelerator.process_index), int(self.accelerator.num_processes))
        fill(table, pictures, encode, self.batch_size, self.on_progress, share)
        self.accelerator.wait_for_everyone()
        return table
