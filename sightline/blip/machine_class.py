"""What of a machine decides which numbers come out and how fast: measurements are kept for each class."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache

import torch

from sightline.blip.packed_linear import has_fast_bf16

_LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


@cache
def machine_class() -> str:
    """16 hexadecimal digits over the processor's units, as torch uses them, and torch's version."""
    said = [
        platform.machine(),
        torch.__version__,
        torch.backends.cpu.get_cpu_capability(),
        str(has_fast_bf16(torch.device("cpu"))),
        *(os.environ.get(name, "") for name in _LIMITS),
    ]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
