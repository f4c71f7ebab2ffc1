"""Pictures through the model: the only place of the indexer that computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.store.halves import finite_rows as finite_in_store

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.patch_formats import PackedPatches, PatchFormat
    from sightline.blip.protocols import Encoder
    from sightline.types import RGB, Half, Mask


def to_pixels(encoder: Encoder, images: Sequence[RGB]) -> Tensor:
    """Pixels ``[B,3,S,S]``: far smaller than the decoded pictures, which can be dropped after this."""
    import torch

    with torch.inference_mode():
        return encoder.preprocess(images)


def encode(
    encoder: Encoder,
    pixels: Sequence[Tensor],
    format: PatchFormat,
    look: Callable[[Encoder, Tensor, Tensor], None] | None = None,
) -> tuple[Half, PackedPatches]:
    """Query tokens ``[B,Q,D]`` in fp16 and packed patches, of pixels in pieces ``[b,3,S,S]``.

    ``look`` gets the encoder, all pixels ``[B,3,S,S]`` and the tokens in fp32.
    """
    import torch

    with torch.inference_mode():
        joined = torch.cat(list(pixels))
        patches = encoder.encode_patches(joined)
        tokens = encoder.encode_image(patches)
        if look is not None:
            look(encoder, joined, tokens)
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
