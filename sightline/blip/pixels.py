"""RGB to the pixels that a BLIP-2 image encoder expects.

Resize with Pillow to S×S without crop, then the checkpoint's mean and standard deviation. That is the
Pillow form of transformers' ``BlipImageProcessor``; the torchvision form gives other pixels
(docs/scoring.md, trap 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sightline.types import RGB

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class PixelConfig:
    """Side S, mean and standard deviation per channel, what a value 0 to 255 is multiplied with before them,
    and the filter of the resize (Pillow's number)."""

    side: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    rescale: float = 1 / 255
    resample: int = int(Image.Resampling.BICUBIC)


def resize(image: RGB, side: int, resample: int = int(Image.Resampling.BICUBIC)) -> RGB:
    """``[H,W,3]`` to ``[S,S,3]`` uint8, bicubic with antialiasing; the whole picture is squeezed.

    ``resample``: another of Pillow's filters.
    """
    if image.shape[:2] == (side, side):
        return image
    resized = Image.fromarray(image).resize((side, side), Image.Resampling(resample))
    return np.asarray(resized)


def normalise(
    images: NDArray[np.uint8],
    mean: tuple[float, float, float] = CLIP_MEAN,
    std: tuple[float, float, float] = CLIP_STD,
    rescale: float = 1 / 255,
) -> Tensor:
    """``[B,S,S,3]`` uint8 to ``[B,3,S,S]`` float32: ``(x · rescale - mean) / std``."""
    scale = 1.0 / ((1.0 / rescale) * torch.tensor(std))
    shift = torch.tensor(mean) / torch.tensor(std)
    pixels = torch.from_numpy(images).float() * scale - shift
    return pixels.permute(0, 3, 1, 2).contiguous()


def preprocess(images: Sequence[RGB], config: PixelConfig) -> Tensor:
    """Pictures of any size to ``[B,3,S,S]`` float32."""
    stacked = np.stack([resize(image, config.side, config.resample) for image in images])
    return normalise(stacked, config.mean, config.std, config.rescale)
