"""RGB to the pixels that a BLIP-2 image encoder expects.

Bicubic resize with Pillow to S×S without crop, then the checkpoint's mean and standard deviation. That is the
Pillow form of transformers' ``BlipImageProcessor``; the torchvision form gives other pixels
(docs/scoring.md, trap 7).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sightline.errors import CheckpointError
from sightline.types import RGB

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class PixelConfig:
    """Side S, mean and standard deviation per channel."""

    side: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD


def read_pixel_config(folder: Path, image_size: int) -> PixelConfig:
    """Size, mean and std from the checkpoint's ``preprocessor_config.json`` (or ``processor_config.json``).

    Raises:
        CheckpointError: the processor's size is not the encoder's.
    """
    raw = None
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if raw is None and path.exists():
            found = json.loads(path.read_text())
            found = found.get("image_processor", found)
            raw = found if "image_mean" in found or "size" in found else None
    if raw is None:
        return PixelConfig(image_size)
    size = raw.get("size", {"height": image_size, "width": image_size})
    height = size if isinstance(size, int) else size.get("height", image_size)
    if height != image_size:
        raise CheckpointError(
            f"{folder}: the processor makes {height} px, the image encoder takes {image_size} px."
        )
    mean, std = raw.get("image_mean", CLIP_MEAN), raw.get("image_std", CLIP_STD)
    return PixelConfig(image_size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def resize(image: RGB, side: int) -> RGB:
    """``[H,W,3]`` to ``[S,S,3]`` uint8, bicubic with antialiasing; the whole picture is squeezed."""
    if image.shape[:2] == (side, side):
        return image
    resized = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def normalise(
    images: NDArray[np.uint8],
    mean: tuple[float, float, float] = CLIP_MEAN,
    std: tuple[float, float, float] = CLIP_STD,
) -> Tensor:
    """``[B,S,S,3]`` uint8 to ``[B,3,S,S]`` float32: ``(x / 255 - mean) / std``."""
    scale = 1.0 / (255.0 * torch.tensor(std))
    shift = torch.tensor(mean) / torch.tensor(std)
    pixels = torch.from_numpy(images).float() * scale - shift
    return pixels.permute(0, 3, 1, 2).contiguous()


def preprocess(images: Sequence[RGB], config: PixelConfig) -> Tensor:
    """Pictures of any size to ``[B,3,S,S]`` float32."""
    stacked = np.stack([resize(image, config.side) for image in images])
    return normalise(stacked, config.mean, config.std)
