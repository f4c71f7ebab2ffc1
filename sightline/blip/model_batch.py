"""How many pictures pass a model at once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.blip.protocols import Vision

log = logging.getLogger(__name__)

ON_CPU, ON_ACCELERATOR = 8, 32
"""Pictures in one pass of the model."""


class ModelBatch:
    """How many pictures pass the model at once: halved for good when the memory does not hold them."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size

    def size(self, model: Vision) -> int:
        """As set, or what was found to be best for the device (docs/decisions/040)."""
        if self._size is None:
            self._size = ON_CPU if model.device.type == "cpu" else ON_ACCELERATOR
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
