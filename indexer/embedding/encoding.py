"""Pictures through the model: the only place of the indexer that computes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.store.halves import finite_rows as finite_in_store

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.patch_formats import PackedPatches, PatchFormat
    from sightline.blip.protocols import Encoder
    from sightline.types import RGB, Half, Mask

log = logging.getLogger(__name__)

ON_CPU, ON_ACCELERATOR = 8, 32
"""Pictures in one pass of the model."""


def to_pixels(encoder: Encoder, images: Sequence[RGB]) -> Tensor:
    """Pixels ``[B,3,S,S]``: far smaller than the decoded pictures, which can be dropped after this."""
    import torch

    with torch.inference_mode():
        return encoder.preprocess(images)


def encode(encoder: Encoder, pixels: Sequence[Tensor], format: PatchFormat) -> tuple[Half, PackedPatches]:
    """Query tokens ``[B,Q,D]`` in fp16 and packed patches, of pixels in pieces ``[b,3,S,S]``."""
    import torch

    with torch.inference_mode():
        patches = encoder.encode_patches(torch.cat(list(pixels)))
        tokens = encoder.encode_image(patches)
        return tokens.to("cpu", torch.float16).numpy(), format.pack(patches)


def finite_rows(tokens: Half, packed: PackedPatches) -> Mask:
    """``[B]``: which images came out without an infinity or a NaN (fp16 ends at 65504).

    Codes cannot hold either; the scale of such a patch is infinite.
    """
    sound = finite_in_store(tokens)
    numbers = packed.patches if packed.scales is None else packed.scales
    if numbers is not None:
        sound &= finite_in_store(numbers.astype(np.float16, copy=False))
    return sound


class ModelBatch:
    """How many pictures pass the model at once: halved for good when the memory does not hold them."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size

    def size(self, encoder: Encoder) -> int:
        """As set, or what was found to be best for the device (docs/decisions/040)."""
        if self._size is None:
            self._size = ON_CPU if encoder.device.type == "cpu" else ON_ACCELERATOR
        return self._size

    def shrink(self, error: RuntimeError, tried: int) -> bool:
        """After ``tried`` pictures ended in ``error``: whether it pays to try again with fewer."""
        if tried <= 1 or not _is_out_of_memory(error):
            return False
        self._size = tried // 2
        log.warning("the model ran out of memory", extra={"pictures": tried, "from_now_on": self._size})
        return True


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an exception of its own; the CPU and MPS allocators say it in words."""
    import torch

    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "allocate memory" in said
