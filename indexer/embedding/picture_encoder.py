"""What a worker keeps of its image encoder from task to task: batch, threads, arithmetic, and its time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from sightline.blip.model_batch import ModelBatch
from sightline.indexer.embedding.clock import EmbedClock
from sightline.indexer.embedding.encoding import encode
from sightline.indexer.embedding.int8_trial import Int8Trial
from sightline.indexer.embedding.pacing import Pacing

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.patch_formats import PackedPatches, PatchFormat
    from sightline.blip.protocols import Encoder
    from sightline.indexer.parts import IndexerParts
    from sightline.types import Half


class PictureEncoder:
    """One for a worker process."""

    def __init__(self, parts: IndexerParts) -> None:
        self._catalog, self._least = parts.catalog, parts.settings.measure_images
        self._note, self._decoders = parts.note, parts.decoders
        self.batch = ModelBatch(parts.settings.encode_batch)
        self.clock = EmbedClock()
        measured = parts.measured
        self._trial = None if measured is None else Int8Trial(measured)
        here = parts.note.workers_here if parts.note is not None else _alone
        self._pacing = None if measured is None else Pacing(measured, self.batch, here)
        self._large: set[str] = set()

    def begin(self, job_id: str, encoder: Encoder) -> None:
        """Before the first pictures of a task pass the model."""
        large = cache(lambda: self._is_large(job_id))
        if self._trial is not None and self._trial.is_open(encoder) and large():
            self._trial.begin(encoder)
        if self._pacing is not None:
            self._pacing.begin(encoder, large)

    def encode(
        self, encoder: Encoder, pixels: Sequence[Tensor], format: PatchFormat
    ) -> tuple[Half, PackedPatches]:
        """One pass: query tokens ``[B,Q,D]`` fp16 and packed patches, of pixels in pieces ``[b,3,S,S]``."""
        with self.clock.working():
            look = None if self._trial is None else self._trial.look
            return encode(encoder, pixels, format, look)

    def ended(self) -> None:
        """After a task: note the time, and say so where decoding is the limit."""
        self.clock.tell(self._decoders)
        if self._note is not None:
            self._note.write({"embed_wait_seconds": self.clock.waited, "embed_busy_seconds": self.clock.busy})

    def _is_large(self, job_id: str) -> bool:
        """Whether a job has, or had when it was first seen, so many pictures left that measuring pays."""
        if self._least == 0 or job_id in self._large:
            return job_id in self._large
        if self._catalog.job_progress(job_id).pending >= self._least:
            self._large = {job_id}
        return job_id in self._large


def _alone() -> int:
    return 1
