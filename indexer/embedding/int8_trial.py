"""Whether a worker may embed in int8: compared on the first pictures of a large job, once for a checkpoint.

Those pictures are embedded as without it, and their tokens published; int8 only looks on. The verdict is kept
for this class of machine, and whoever loads the model later reads it (docs/decisions/143).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sightline.blip.arithmetics import VisionArithmetics
from sightline.blip.protocols import Encoder

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.measured import Measured
    from sightline.blip.vision_check import VisionComparison, VisionVerdict

log = logging.getLogger(__name__)


class Int8Trial:
    """Of one worker process; used by one thread."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self._running: dict[str, VisionComparison] = {}
        self._settled: set[str] = set()

    def is_open(self, encoder: object) -> bool:
        """Whether this model may be compared, and was not. Takes int8 where the verdict is there and good."""
        if not isinstance(encoder, VisionArithmetics) or not isinstance(encoder, Encoder):
            return False
        if not encoder.may_try_int8 or encoder.fingerprint in self._settled:
            return False
        known = self._measured.verdict(encoder.fingerprint)
        if known is not None:
            self._settle(encoder, encoder.fingerprint, known)
        return known is None

    def begin(self, encoder: Encoder) -> None:
        """Compare what comes from now on."""
        from sightline.blip.plain_sentences import PLAIN_SENTENCES
        from sightline.blip.vision_check import VisionComparison

        if encoder.fingerprint not in self._running:
            self._running[encoder.fingerprint] = VisionComparison(
                lambda: encoder.encode_text(PLAIN_SENTENCES)
            )
            log.info("int8 is compared on the pictures that come", extra={"model": encoder.fingerprint})

    def look(self, encoder: Encoder, pixels: Tensor, tokens: Tensor) -> None:
        """Pixels ``[B,3,S,S]`` of one pass and their tokens ``[B,Q,D]``; nothing where none is compared."""
        comparison = self._running.get(encoder.fingerprint)
        if comparison is None or not isinstance(encoder, VisionArithmetics):
            return
        try:
            verdict = comparison.add(tokens, encoder.encode_image(encoder.encode_patches_int8(pixels)))
        except RuntimeError as error:  # both do not fit the memory, say: embedding goes on without
            log.warning("int8 cannot be compared", extra={"error": str(error)})
            self._forget(encoder, encoder.fingerprint)
            return
        if verdict is not None:
            self._measured.keep_verdict(encoder.fingerprint, verdict)
            self._settle(encoder, encoder.fingerprint, verdict)

    def _settle(self, encoder: VisionArithmetics, fingerprint: str, verdict: VisionVerdict) -> None:
        said = {"pictures": verdict.pictures, "cosine": verdict.cosine}
        said |= {"tau": verdict.tau, "top10": verdict.top10}
        if verdict.holds:
            encoder.take_int8()
            log.info("pictures are embedded in int8 from now on", extra=said)
        else:
            log.info("int8 would move tokens or orders too far and is not used", extra=said)
        self._forget(encoder, fingerprint)

    def _forget(self, encoder: VisionArithmetics, fingerprint: str) -> None:
        encoder.leave_int8()
        self._running.pop(fingerprint, None)
        self._settled.add(fingerprint)
