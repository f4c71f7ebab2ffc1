"""On which device, and in which number type the image encoder computes. Measured in docs/decisions/040."""

from __future__ import annotations

import torch

from sightline.blip.int8_linear import available, weight_top
from sightline.blip.packed_linear import has_fast_bf16
from sightline.errors import InputError

INT8 = "int8"
_KNOWN = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, INT8: torch.int8}

_NARROW = 512
"""An encoder of fewer channels is quick in fp32 too: on a CPU it keeps the exact numbers."""


def vision_dtype(name: str | None, device: torch.device, width: int) -> torch.dtype:
    """The type called ``name``; for None bfloat16 where the device multiplies it in hardware, else float32.

    ``width``: V, the encoder's channels.

    int8 is that of the products alone (blip/vit_int8.py), and is never chosen here: it needs a comparison on
    the checkpoint (blip/vision_check.py).

    Raises:
        InputError: there is no such type, or int8 where it cannot be computed.
    """
    if name is None:
        return torch.bfloat16 if _has_bfloat16(device, width) else torch.float32
    if name not in _KNOWN:
        raise InputError(f"The dtype {name!r} is unknown; use one of {', '.join(_KNOWN)}.")
    if name == INT8 and device.type != "cpu":
        raise InputError(
            f"Products in int8 are built for CPUs only; on {device.type} use bfloat16 or float16."
        )
    if name == INT8 and weight_top() is None:
        raise InputError("This processor or build multiplies no int8; use float32 or bfloat16.")
    return _KNOWN[name]


def int8_may_pay(device: torch.device, width: int) -> bool:
    """Whether comparing int8 is worth it: a CPU that multiplies it exactly and faster, a wide encoder."""
    return device.type == "cpu" and width >= _NARROW and available()


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
    have it, else float32. int8 is of the image encoder alone: it counts as None here."""
    name = None if name == INT8 else name
    if name is None and device.type != "cuda":
        return torch.float32
    return vision_dtype(name, device, _NARROW)
