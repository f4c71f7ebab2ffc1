"""Pixels that users hold in arrays and tensors, as RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from sightline.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.imaging import Limits
    from sightline.types import RGB


def is_tensor(image: object) -> TypeGuard[Tensor]:
    """Whether it is a tensor of torch."""
    from torch import Tensor

    return isinstance(image, Tensor)


def rgb_of_array(image: np.ndarray[Any, Any], limits: Limits) -> RGB:
    """RGB ``[H,W,3]`` of uint8 ``[H,W]``, ``[H,W,1]``, ``[H,W,3]`` or ``[H,W,4]``; else `InputError`."""
    plain = image[:, :, None] if image.ndim == 2 else image
    if image.dtype != np.uint8 or plain.ndim != 3 or plain.shape[2] not in (1, 3, 4) or 0 in plain.shape:
        found = f"{image.dtype} {list(image.shape)}"
        raise InputError(f"An image array must be RGB pixels, uint8 [height, width, 3], not {found}.")
    return _rgb_of_channels(plain, limits)


def rgb_of_tensor(image: Tensor, limits: Limits) -> RGB:
    """RGB ``[H,W,3]`` of a tensor ``[3,H,W]``, ``[1,H,W]`` or ``[4,H,W]``; else `InputError`.

    Its numbers are uint8, or floats in [0, 1].
    """
    import torch

    kind = str(image.dtype).removeprefix("torch.")
    right = image.ndim == 3 and image.shape[0] in (1, 3, 4) and 0 not in image.shape
    right = right and image.layout == torch.strided and not image.is_meta
    if not right or not (image.dtype == torch.uint8 or image.is_floating_point()):
        asked = "[3, height, width], of uint8 or of floats in [0, 1]"
        kind = "without numbers" if image.is_meta else kind if image.layout == torch.strided else "sparse"
        raise InputError(f"An image tensor must be {asked}, not {kind} {list(image.shape)}.")
    image = image.detach().cpu()
    if image.is_floating_point():
        image = image.float()
        if not bool(((image >= 0) & (image <= 1)).all()):
            low, high = float(image.min()), float(image.max())
            said = f"these reach from {low:.3g} to {high:.3g}"
            raise InputError(f"Floats of an image tensor must be in [0, 1], before any normalising; {said}.")
        image = (image * 255).round().to(torch.uint8)
    return _rgb_of_channels(image.permute(1, 2, 0).numpy(), limits)


def _rgb_of_channels(pixels: np.ndarray[Any, Any], limits: Limits) -> RGB:
    """uint8 ``[H,W,C]`` of one, three or four channels; what is see-through is treated as in a file."""
    from PIL import Image

    from sightline.imaging import rgb_of

    if pixels.shape[2] == 3:
        return np.ascontiguousarray(pixels)
    one = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return rgb_of(Image.fromarray(np.ascontiguousarray(one)), limits)
