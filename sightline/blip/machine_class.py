"""What of a machine decides which numbers come out and how fast: measurements are kept for each class.

Imports no torch before it is asked.
"""

from __future__ import annotations

import hashlib
import os
import platform
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

_LIMIT: Final = "ONEDNN_MAX_CPU_ISA"
"""By it oneDNN leaves units unused; torch's own limit shows in what it calls the processor's capability."""


def machine_class(device: torch.device) -> list[str]:
    """A GPU's name, or the units with which a processor multiplies, as torch uses them; torch's version."""
    import torch

    from sightline.blip import int8_linear
    from sightline.blip.packed_linear import has_fast_bf16

    version = f"torch {torch.__version__}"
    if device.type == "cuda":
        return ["cuda", torch.cuda.get_device_name(device), version]
    capability = torch.backends.cpu.get_cpu_capability()
    found = [device.type, platform.machine(), capability, f"int8 {int8_linear.weight_top()}"]
    found += ["bf16"] if has_fast_bf16(device) else []
    found += [f"at most {os.environ[_LIMIT]}"] if _LIMIT in os.environ else []
    return [*found, version]


def machine_key(device: torch.device) -> str:
    """16 hexadecimal digits over `machine_class`, for names of files."""
    return hashlib.sha256("\n".join(machine_class(device)).encode()).hexdigest()[:16]
