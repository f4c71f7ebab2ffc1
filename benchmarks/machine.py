"""What this is measured on: the processor's features, its class in words, threads, versions, how busy it is.

Goals differ by class, because what limits a product is what the processor multiplies. Limits from the
environment count: a machine told to use AVX2 alone is measured as one, and its class says so.
"""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

FEATURES: Final = (
    "avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16",
)  # fmt: skip
"""Those that products are faster with, by the names of /proc/cpuinfo."""
_AVX2: Final = frozenset({"avx2"})
_AVX512: Final = _AVX2 | {"avx512f"}
_VNNI: Final = _AVX512 | {"avx512_vnni", "avx_vnni"}
_BF16: Final = _VNNI | {"avx512_bf16"}
_LIMITS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "ONEDNN_MAX_CPU_ISA": {
        "SSE41": frozenset(), "AVX": frozenset(), "AVX2": _AVX2, "AVX2_VNNI": _AVX2 | {"avx_vnni"},
        "AVX2_VNNI_2": _AVX2 | {"avx_vnni"}, "AVX512_CORE": _AVX512, "AVX512_CORE_VNNI": _VNNI,
        "AVX512_CORE_BF16": _BF16, "AVX512_CORE_FP16": _BF16, "AVX10_1_512": _BF16,
    },
    "ATEN_CPU_CAPABILITY": {"DEFAULT": frozenset(), "AVX2": _AVX2 | {"avx_vnni"}},
    "FBGEMM_ENABLE_INSTRUCTIONS": {"AVX2": _AVX2 | {"avx_vnni"}},
    "MKL_ENABLE_INSTRUCTIONS": {"SSE4_2": frozenset(), "AVX": frozenset(), "AVX2": _AVX2 | {"avx_vnni"}},
}  # fmt: skip
"""What a limit leaves, by library; values that are not named limit nothing."""
DECIDING: Final = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
_BUSY: Final = 0.5
"""Load for each core at the start from which times are not those of the machine alone."""


@dataclass(frozen=True)
class Processor:
    """``features``: what it has; ``used``: what limits from the environment leave of it."""

    name: str
    cores: int
    features: tuple[str, ...]
    used: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The class in words."""
        words = level(self.used)
        if self.used != self.features:
            words += f" (emulated on {self.name}, {level(self.features)})"
        return f"{self.cores} core{'s' if self.cores != 1 else ''}, {words}"

    @property
    def goals(self) -> str:
        """Whose goals hold: ``avx512_bf16``, or ``avx2`` for whatever has no bf16 units."""
        return "avx512_bf16" if {"avx512_bf16", "amx_bf16"} & set(self.used) else "avx2"


def level(features: tuple[str, ...]) -> str:
    """Features in words, such as ``AVX-512 with bf16 and VNNI``."""
    has = set(features)
    if "avx512f" in has:
        extra = {"bf16": "avx512_bf16", "VNNI": "avx512_vnni", "AMX": "amx_int8"}
        base = "AVX-512"
    elif "avx2" in has:
        base, extra = "AVX2", {"VNNI": "avx_vnni"}
    else:
        return f"{platform.machine()} without AVX2"
    with_ = [word for word, feature in extra.items() if feature in has]
    return base + (f" with {' and '.join(filter(None, [', '.join(with_[:-1]), with_[-1]]))}" if with_ else "")


def processor_of(cpuinfo: str, limits: Mapping[str, str], cores: int) -> Processor:
    """From the text of /proc/cpuinfo and an environment."""
    flags, name = (_first(cpuinfo, word) for word in ("flags", "model name"))
    features = tuple(one for one in FEATURES if one in flags.split())
    return Processor(
        name or platform.processor() or platform.machine(), cores, features, left(features, limits)
    )


def left(features: tuple[str, ...], limits: Mapping[str, str]) -> tuple[str, ...]:
    """The features that the deciding limits leave."""
    allowed = set(features)
    for variable in DECIDING:
        allowed &= _LIMITS[variable].get(limits.get(variable, "").upper(), frozenset(features))
    return tuple(one for one in features if one in allowed)


def warnings(processor: Processor, limits: Mapping[str, str], load: float) -> list[str]:
    """What whoever reads the figures must know: a sentence each."""
    found = []
    if load > _BUSY * processor.cores:
        found.append(
            f"This machine is busy: the load is {load:.1f} on {processor.cores} cores, so times are larger "
            "than its own; ratios were measured in turns."
        )
    free = [one for one, values in _LIMITS.items() if limits.get(one, "").upper() not in values]
    if processor.used != processor.features and free:
        found.append(f"Not all libraries are limited: set {', '.join(free)} as well.")
    return found


@cache
def this_processor() -> Processor:
    """The one that runs this."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else _by_torch()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processor_of(text, os.environ, cores)


def these_warnings() -> list[str]:
    """Those of now."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return warnings(this_processor(), os.environ, load)


def machine() -> dict[str, str]:
    """All of it, for ``build/bench.json``."""
    import torch

    processor = this_processor()
    return {
        "class": processor.kind,
        "goals": processor.goals,
        "cpu": processor.name,
        "cores": str(processor.cores),
        "features": " ".join(processor.features),
        "features_used": " ".join(processor.used),
        "threads": str(torch.get_num_threads()),
        "load": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }


def free_gb() -> float:
    """Memory that a program can still have; without an end where the system does not say."""
    info = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", info.read_text(), re.M) if info.exists() else None
    return int(found[1]) / 1e6 if found else math.inf


def _first(cpuinfo: str, word: str) -> str:
    found = re.search(rf"^{word}\s*:\s*(.+)$", cpuinfo, re.M)
    return found[1].strip() if found else ""


def _by_torch() -> str:
    """Where there is no /proc: what PyTorch knows, in the form of /proc/cpuinfo."""
    import torch

    checks = {
        "avx2": "_is_avx2_supported",
        "avx512f": "_is_avx512_supported",
        "avx512_bf16": "_is_avx512_bf16_supported",
        "avx512_vnni": "_is_vnni_supported",
        "amx_int8 amx_bf16": "_is_amx_tile_supported",
    }
    flags = [names for names, check in checks.items() if getattr(torch.cpu, check, lambda: False)()]
    return f"flags : {' '.join(flags)}\n"
