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

Half = NDArray[np.float16]


def to_pixels(encoder: Encoder, images: Sequence[RGB]) -> Tensor:
    """Pixels ``[B,3,S,S]``: far smaller than the decoded pictures, which can be dropped after this."""
    import torch

    with torch.inference_mode():
        return encoder.preprocess(images)


def encode(encoder: Encoder, pixels: Sequence[Tensor]) -> tuple[Half, Half]:
    """Query tokens ``[B,Q,D]`` and patches ``[B,P,V]`` in fp16 of pixels given as pieces ``[b,3,S,S]``."""
    import torch

    with torch.inference_mode():
        patches = encoder.encode_patches(torch.cat(list(pixels)))
        tokens = encoder.encode_image(patches)
        return _half(tokens), _half(patches)


def finite_rows(*arrays: Half) -> NDArray[np.bool_]:
    """``[B]``: which images came out without an infinity or a NaN (fp16 ends at 65504)."""
    sound = np.ones(len(arrays[0]), np.bool_)
    for array in arrays:
        sound &= np.isfinite(array).reshape(len(array), -1).all(axis=1)
    return sound


def _half(tensor: Tensor) -> Half:
    import torch

    array: Half = tensor.to("cpu", torch.float16).numpy()
    return array
