"""How many pictures pass a model at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline.blip.protocols import Vision

log = logging.getLogger(__name__)

ON_CPU, ON_ACCELERATOR = 8, 32
"""Pictures in one pass of the model."""


BATCHES = (1, 2, 4, 8, 16)
"""What is tried."""
_NO_WORSE = 1.03
"""A smaller batch is taken when it is at most this much slower: it needs less memory."""
_MOST_THREADS = 1024
"""More says that a file is damaged."""


@dataclass(frozen=True)
class Pace:
    """What was fastest: pictures in one pass, and threads that compute it."""

    batch: int
    threads: int

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Pace | None:
        """From what `vars` gave; None when it is not that."""
        batch, threads = value.get("batch"), value.get("threads")
        if type(batch) is not int or type(threads) is not int:
            return None
        usable = batch in BATCHES and 1 <= threads <= _MOST_THREADS
        return cls(batch, threads) if usable else None


def fastest(seconds: Callable[[int, int], float], threads: Sequence[int]) -> Pace:
    """The best of `BATCHES` with the first number of threads, then the best number of threads for it.

    ``seconds``: how long a pass of so many pictures takes with so many threads.
    """
    each = {batch: seconds(batch, threads[0]) / batch for batch in BATCHES}
    batch = next(one for one in BATCHES if each[one] <= _NO_WORSE * min(each.values()))
    return Pace(batch, min(threads, key=lambda count: seconds(batch, count)))


class ModelBatch:
    """How many pictures pass the model at once: halved for good when the memory does not hold them."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size
        self._is_open = size is None

    def take(self, size: int) -> None:
        """What was measured, unless a size was set or the memory has set one."""
        if self._is_open:
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
        self._size, self._is_open = tried // 2, False
        log.warning("the model ran out of memory", extra={"pictures": tried, "from_now_on": self._size})
        return True


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an exception of its own; the CPU and MPS allocators say it in words."""
    import torch

    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "allocate memory" in said
