"""Pictures through the model: the only place of the indexer that computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from base.types import RGB
    from blip.protocols import Encoder
    from indexer.codecs import Keeping, Kept

Half = NDArray[np.float16]


def to_pixels(encoder: Encoder, images: Sequence[RGB]) -> Tensor:
    """Pixels ``[B,3,S,S]``: far smaller than the decoded pictures, which can be dropped after this."""
    import torch

    with torch.inference_mode():
        return encoder.preprocess(images)


def encode(encoder: Encoder, pixels: Sequence[Tensor], keeping: Keeping) -> tuple[Half, Kept]:
    """Query tokens ``[B,Q,D]`` in fp16 and patches as they are kept, of pixels given as pieces
    ``[b,3,S,S]``.
    """
    import torch

    with torch.inference_mode():
        patches = encoder.encode_patches(torch.cat(list(pixels)))
        tokens = encoder.encode_image(patches)
        return tokens.to("cpu", torch.float16).numpy(), keeping.keep(patches)


def finite_rows(tokens: Half, kept: Kept) -> NDArray[np.bool_]:
    """``[B]``: which images came out without an infinity or a NaN (fp16 ends at 65504).

    Codes cannot hold either; the scale of such a patch is infinite.
    """
    sound = np.ones(len(tokens), np.bool_)
    for array in (tokens, kept.patches if kept.scales is None else kept.scales):
        if array is not None:
            sound &= np.isfinite(array).reshape(len(array), -1).all(axis=1)
    return sound
