"""The model family: arrays in, arrays out. Importing this package imports no torch; its modules do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from sightline.blip.checkpoint import Role
    from sightline.blip.protocols import Vision

__all__ = ["load"]


def load(
    model: str,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    match_dtype: str = "float32",
    cache_dir: Path | None = None,
    fingerprint: str | None = None,
    role: Role = "retrieval",
    device_map: str | None = None,
) -> Vision:
    """Load a model; what it can do, its family says (``sightline.blip.protocols`` has the roles and the
    functions that make sure of one).

    Args:
        model: ``demo``, the model that ships with Sightline; ``toy``, the formulas of sightline/blip/toy.py,
            for tests (each another one for each role); else a folder in transformers' format, or a hub id
            such as ``Salesforce/blip2-itm-vit-g``. A folder that is called demo or toy is named ``./demo``.
        revision: branch, tag or commit on the hub.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None picks the best that is there.
        dtype: of the image encoder, and of the language model where there is one: ``float32``, ``bfloat16``
            or ``float16``; None picks bfloat16 on GPUs that have it and, for encoders of the size of ViT-g,
            on CPUs that have it; float32 elsewhere.
        match_dtype: of the Q-Former when it scores one text against many images: ``float32``, ``bfloat16``,
            ``int8`` (CPUs only), or ``auto``, which is float32 until a check has found a faster one that
            keeps the order (sightline/blip/match_precision.py). The Q-Former embeds in float32 in any case
            (docs/scoring.md, trap 4).
        cache_dir: the hub's cache folder; None uses the hub's own default.
        fingerprint: of exactly these files, when it is known; None reads them all once more to compute it.
        role: what ``demo`` and ``toy`` are wanted for; to every other name it makes no difference.
        device_map: ``auto`` spreads a language model that does not fit one device over all that there are,
            through accelerate; models without one leave it aside.

    The toy has no weights and no choice: everything but its name is left aside.

    Raises:
        ModelUnavailableError: neither a folder nor reachable on the hub.
        CheckpointError: the folder holds no usable checkpoint of a known family.
    """
    from sightline.blip.checkpoint import TOY, resolve
    from sightline.blip.registry import family_of

    if model == TOY:
        return _toy(role)
    folder = resolve(model, revision, cache_dir, role)
    family = family_of(folder)
    if family.language_loader is not None:
        spread = family.language_loader()
        return spread(folder, device=device, dtype=dtype, fingerprint=fingerprint, device_map=device_map)
    make = family.loader()
    return make(folder, device=device, dtype=dtype, match_dtype=match_dtype, fingerprint=fingerprint)


def _toy(role: Role) -> Vision:
    if role == "retrieval":
        from sightline.blip.toy import ToyEncoder

        return ToyEncoder()
    from sightline.blip.toy_words import ToyWriter

    return ToyWriter()
