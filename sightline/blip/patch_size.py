"""How many bytes the patches of an image take, by how they are kept. Imports no torch."""

from __future__ import annotations


def default_rank(width: int) -> int:
    """R for which 8-bit codes and a scale take at most an eleventh of fp16 patches of this width.

    ``2V / (R + 2) ≥ 11``, and a multiple of 16 where there are that many: 240 for ViT-g (62,194 bytes an
    image at 224 px, 163,834 at 364 px), 32 for a width of 192.
    """
    rank = max(2 * width // 11 - 2, 1)
    return rank if rank < 16 else rank // 16 * 16


def image_bytes(level: str, patches: int, width: int) -> int:
    """Of one image of ``patches`` patches: none, fp16, int8 or a latent of the default size."""
    each = {"none": 0, "fp16": 2 * width, "int8": width + 2}.get(level, default_rank(width) + 2)
    return patches * each
