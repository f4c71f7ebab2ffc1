"""How many pictures pass the model at once on a CPU, and with how many threads: measured once and kept.

Workers on one machine share its cores: each takes its part of the threads that were found to be best. Who
sets ``OMP_NUM_THREADS`` has decided, and nothing is changed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sightline.blip.arithmetics import VisionArithmetics
from sightline.blip.model_batch import ModelBatch, Pace, fastest
from sightline.blip.protocols import Vision

if TYPE_CHECKING:
    from sightline.blip.measured import Measured

log = logging.getLogger(__name__)

_LAYERS: Final = 2
"""Of the image encoder that are timed: all are alike."""


class Pacing:
    """Of one worker process; used by the thread that computes: numbers of threads belong to a thread."""

    def __init__(self, measured: Measured, model_batch: ModelBatch, workers_here: Callable[[], int]) -> None:
        self._measured = measured
        self._model_batch = model_batch
        self._workers_here = workers_here
        self._paces: dict[tuple[str, str], Pace] = {}
        self._cores: int | None = None

    def begin(self, model: Vision, measure: Callable[[], bool]) -> None:
        """Before a task: batch and threads for this model, as measured; ``measure``: whether that pays."""
        if not isinstance(model, VisionArithmetics) or model.device.type != "cpu":
            return
        workers = self._workers_here()
        pace = self._pace(model, model.fingerprint, lambda: workers == 1 and measure())
        if pace is not None:
            self._model_batch.take(pace.batch)
        self._set_threads(share(pace.threads if pace is not None else self._all_cores(), workers))

    def _pace(self, model: VisionArithmetics, fingerprint: str, measure: Callable[[], bool]) -> Pace | None:
        arithmetic = str(model.vision_dtype).removeprefix("torch.")
        known = self._paces.get((fingerprint, arithmetic))
        known = known or self._measured.pace(fingerprint, arithmetic, self._all_cores())
        if known is None and measure():
            known = self._find(model)
            self._measured.keep_pace(fingerprint, arithmetic, self._all_cores(), known)
            log.info("pace measured", extra={"pictures": known.batch, "threads": known.threads})
        if known is not None:
            self._paces[fingerprint, arithmetic] = known
        return known

    def _find(self, model: VisionArithmetics) -> Pace:
        def seconds(batch: int, threads: int) -> float:
            self._set_threads(threads)
            return model.layer_seconds(batch, _LAYERS)

        cores = self._all_cores()
        seconds(1, cores)  # the first call makes kernels
        return fastest(
            seconds, [cores] if _threads_are_set() else sorted({cores, -(-cores // 2)}, reverse=True)
        )

    def _all_cores(self) -> int:
        """What torch takes by itself."""
        import torch

        if self._cores is None:
            self._cores = torch.get_num_threads()
        return self._cores

    def _set_threads(self, count: int) -> None:
        import torch

        if not _threads_are_set() and torch.get_num_threads() != count:
            torch.set_num_threads(count)


def share(threads: int, workers: int) -> int:
    """Threads of one of so many workers on a machine that has ``threads`` for all of them."""
    return max(1, threads // max(1, workers))


def _threads_are_set() -> bool:
    return bool(os.environ.get("OMP_NUM_THREADS"))
