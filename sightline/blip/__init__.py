"""The model family: arrays in, arrays out. Importing this package imports no torch; its modules do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.blip.blip2 import Blip2

__all__ = ["load_blip2"]


def load_blip2(
    model: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    match_dtype: str = "float32",
    cache_dir: Path | None = None,
    fingerprint: str | None = None,
) -> Blip2:
    """Load a BLIP-2 ITM checkpoint in transformers' format.

    Args:
        model: a folder, or a hub id such as ``Salesforce/blip2-itm-vit-g``.
        revision: branch, tag or commit on the hub.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None picks the best that is there.
        dtype: of the image encoder: ``float32``, ``bfloat16`` or ``float16``; None picks bfloat16 on GPUs
            that have it and, for encoders of the size of ViT-g, on CPUs that have it; float32 elsewhere.
        match_dtype: of the Q-Former when it scores one text against many images: ``float32``, ``bfloat16``,
            or ``auto``, which is bfloat16 where the machine multiplies it in hardware and a comparison of the
            two on this checkpoint passes (sightline/blip/match_precision.py). The Q-Former embeds in float32
            (SCORING.md, trap 4).
        cache_dir: the hub's cache folder; None uses the hub's own default.
        fingerprint: of exactly these files, when it is known; None reads them all once more to compute it.

    Raises:
        ModelUnavailableError: neither a folder nor reachable on the hub.
        CheckpointError: the folder holds no usable BLIP-2 ITM checkpoint.
    """
    from sightline.blip.blip2 import Blip2
    from sightline.blip.checkpoint import resolve

    folder = resolve(model, revision, cache_dir)
    return Blip2(folder, device=device, dtype=dtype, match_dtype=match_dtype, fingerprint=fingerprint)
