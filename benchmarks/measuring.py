"""What all benchmarks share: alternating measurements, medians with spread, and one shape for results.

Ours and theirs are timed in turns in one process, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs of one thing."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        low, high = min(self.seconds), max(self.seconds)
        return f"{self.median:.3g} s ({low:.3g} to {high:.3g}, n={len(self.seconds)})"


@dataclass(frozen=True)
class Row:
    """One line of the report: what was done, by us and by what a user would do instead."""

    what: str
    ours: str
    theirs: str = ""
    ratio: str = ""
    goal: str = ""


@dataclass
class Section:
    """The result of one benchmark."""

    title: str
    figures: dict[str, float] = field(default_factory=dict)
    """Names and values for ``build/bench.json``."""
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plots: list[Path] = field(default_factory=list)


def alternate(what: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 1) -> dict[str, Timing]:
    """Time every function in turns, ``rounds`` times after ``warmup`` unmeasured ones."""
    found: dict[str, list[float]] = {name: [] for name in what}
    for turn in range(warmup + rounds):
        for name, run in what.items():
            began = time.perf_counter()
            run()
            if turn >= warmup:
                found[name].append(time.perf_counter() - began)
    return {name: Timing(tuple(seconds)) for name, seconds in found.items()}


def machine() -> dict[str, str]:
    """What this was measured on."""
    import torch
    import transformers

    return {
        "cpu": _cpu_name(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "bf16": str(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
