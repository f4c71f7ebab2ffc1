"""On which device, and in which number type the image encoder computes. Measured in docs/decisions/040."""

from __future__ import annotations

import torch

from sightline.blip.packed_linear import has_fast_bf16
from sightline.errors import InputError

_KNOWN = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


_NARROW = 512
"""An encoder of fewer channels is quick in fp32 too: on a CPU it keeps the exact numbers."""


def vision_dtype(name: str | None, device: torch.device, width: int) -> torch.dtype:
    """The type called ``name``; for None bfloat16 where the device multiplies it in hardware, else float32.

    ``width``: V, the encoder's channels.

    Raises:
        InputError: there is no such type.
    """
    if name is None:
        return torch.bfloat16 if _has_bfloat16(device, width) else torch.float32
    if name not in _KNOWN:
        raise InputError(f"The dtype {name!r} is unknown; use one of {', '.join(_KNOWN)}.")
    return _KNOWN[name]


def _has_bfloat16(device: torch.device, width: int) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and width >= _NARROW and has_fast_bf16(device)


def best_device() -> str:
    """The first of CUDA, Apple's MPS and the CPU that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def writer_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The type that a text decoder computes in: ``name`` where one is given; for None bfloat16 on GPUs that
    have it, else float32."""
    if name is None and device.type != "cuda":
        return torch.float32
    return vision_dtype(name, device, _NARROW)
