"""The pictures of a run as tables on disk, filled by all ranks together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.blip.pixels import PixelConfig, resize
from sightline.blip.protocols import Vision
from sightline.evaluation.data import Picture
from sightline.evaluation.tables import Encode, PictureTable, TablePlan, encode_patches, fill, identity
from sightline.store.room import Need
from sightline.types import RGB, OnProgress


@dataclass(frozen=True)
class Filling:
    """A table before it is filled."""

    plan: TablePlan
    pictures: Sequence[Picture]
    encode: Encode
    what: str

    @property
    def need(self) -> Need:
        """The room that it will take."""
        return self.plan.need(self.what)


@dataclass(frozen=True)
class Filler:
    """Makes and fills tables below ``folder``; ``accelerator`` is accelerate's."""

    folder: Path
    accelerator: Any
    batch_size: int
    on_progress: OnProgress | None = None

    def patches(self, model: Vision, pictures: Sequence[Picture]) -> Filling:
        """``[N, P, V]``, fp16, by the model's image encoder."""
        plan = TablePlan(self.folder, identity(pictures, model.fingerprint), len(pictures), model.patch_shape)
        return Filling(plan, pictures, encode_patches(model), f"patches of {len(pictures):,} pictures")

    def pixels(self, config: PixelConfig, pictures: Sequence[Picture]) -> Filling:
        """``[N, S, S, 3]``, uint8: resized once, so that an epoch decodes no files."""

        def encode(images: list[RGB]) -> NDArray[Any]:
            return np.stack([resize(image, config.side, config.resample) for image in images])

        name, shape = identity(pictures, f"pixels {config.resample}"), (config.side, config.side, 3)
        plan = TablePlan(self.folder, name, len(pictures), shape, "uint8")
        return Filling(plan, pictures, encode, f"pixels of {len(pictures):,} pictures")

    def fill(self, filling: Filling) -> PictureTable:
        """Make a table and fill what is missing, all ranks together.

        Raises:
            StorageError: the disk has no room for it, or refuses.
        """
        with self.accelerator.main_process_first():
            table = filling.plan.open()
        share = (int(self.accelerator.process_index), int(self.accelerator.num_processes))
        fill(table, filling.pictures, filling.encode, self.batch_size, self.on_progress, share)
        self.accelerator.wait_for_everyone()
        return table
