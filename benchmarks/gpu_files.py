"""What benchmarks/gpu_embedding.py reads: a checkpoint with random weights, and JPEG files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sightline.blip.config import Blip2Config
from sightline.blip.export import save_checkpoint
from sightline.blip.network import Blip2Network
from sightline.blip.pixels import PixelConfig
from sightline.blip.random_weights import word_tokenizer

DRAWN = 16
"""Photos that are drawn; the others differ from them in a comment."""


def write_checkpoint(folder: Path, config: Blip2Config) -> Path:
    """Random weights from one drawn block: drawing a billion numbers takes longer than the rest."""
    with torch.device("meta"):
        network = Blip2Network(config)
    network.to(torch.bfloat16).to_empty(device="cpu")
    noise = 0.02 * torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    for parameter in network.parameters():
        flat = parameter.data.view(-1)
        for start in range(0, len(flat), len(noise)):
            flat[start : start + len(noise)] = noise[: len(flat) - start]
    tokenizer, pixels = (
        word_tokenizer(config.qformer_config.vocab_size),
        PixelConfig(config.vision_config.image_size),
    )
    save_checkpoint(folder, network, None, tokenizer, pixels, dtype=torch.bfloat16)
    return folder


def write_pictures(folder: Path, width: int, height: int, count: int) -> list[Path]:
    """Few drawn photos, each many times with another comment: other bytes, the same work."""
    folder.mkdir()
    drawn = [photo(number, width, height) for number in range(min(DRAWN, count))]
    files = []
    for number in range(count):
        comment = b"%08d" % number
        marker = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        data = drawn[number % len(drawn)]
        files.append(folder / f"{number:06d}.jpg")
        files[-1].write_bytes(data[:2] + marker + data[2:])
    return files


def photo(seed: int, width: int, height: int) -> bytes:
    """Soft shapes with a little noise, as large a file as a photo of this size has."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    pixels = np.clip(smooth + rng.normal(0, 6, (height, width, 1)), 0, 255).astype(np.uint8)
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()
