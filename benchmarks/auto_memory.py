"""How much memory reranking takes beyond the model's weights.

``python -m benchmarks.auto_memory FOLDER`` loads the checkpoint in FOLDER in this fresh process, reranks
once, so that the weights lie as their arithmetic wants them, and prints what the next rerank adds at its
peak. The peak is the kernel's (VmHWM of /proc/self/status, set back through /proc/self/clear_refs), so that
no moment is missed.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.latent_pairs import Found, LatentSource, chosen_dtype, name_of
from benchmarks.measuring import Row, Section
from benchmarks.rerank import random_latents, size_of
from benchmarks.serving import write_qformer
from sightline.blip import load
from sightline.blip.protocols import judging
from sightline.reranker import Reranker

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET: Final = "5"
"""Sets VmHWM to the present size (proc(5))."""
_TEXT: Final = "a red dog and two people on the beach"


def add_memory(section: Section, full: bool) -> None:
    """The figure ``rerank_memory_mb``, from a process of its own."""
    if not can_reset():
        section.skip("`rerank_memory_mb`: this system does not let a process set its peak back.")
        return
    with tempfile.TemporaryDirectory() as folder:
        write_qformer(Path(folder), size_of(full).config)
        command = [sys.executable, "-m", "benchmarks.auto_memory", folder, *([] if full else ["--small"])]
        told = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(told.stdout)
    section.figures |= {"rerank_memory_mb": found["peak_mb"], "rerank_weights_mb": found["weights_mb"]}
    count = size_of(full).candidates
    section.rows.append(
        Row(
            f"peak memory of reranking {count}, beyond the weights",
            f"{found['peak_mb']:.0f} MB; the weights as they lie take {found['weights_mb']:.0f} MB",
            goal="≤ 400 MB",
        )
    )


def measure(folder: str, full: bool) -> dict[str, float]:
    """Megabytes: what a rerank adds at its peak, and what the model took until it was ready for one."""
    size = size_of(full)
    latents = random_latents(size)
    shown = [Found(key, 1.0 - key / 1000, key + 1) for key in range(size.candidates)]
    start = _resting_mb()
    model = load(folder, device="cpu", match_dtype=name_of(chosen_dtype()))
    reranker = Reranker(judging(model, folder), LatentSource(latents))
    reranker.rerank(_TEXT, shown[:1], 1)
    weights = _resting_mb() - start
    peak = peak_mb(lambda: reranker.rerank(_TEXT, shown, size.candidates))
    return {"peak_mb": peak, "weights_mb": weights}


def peak_mb(run: Callable[[], Any]) -> float:
    """Megabytes that ``run`` adds at its peak to what this process holds."""
    resting = _resting_mb()
    _CLEAR.write_text(_RESET)
    run()
    return _status_mb("VmHWM") - resting


def can_reset() -> bool:
    """Whether this system lets a process set its peak back."""
    with suppress(OSError):
        _CLEAR.write_text(_RESET)
        return "VmHWM" in _STATUS.read_text()
    return False


def _resting_mb() -> float:
    """Resident memory after what is free was given back: else a rerank would reuse it unseen."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # of glibc
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float:
    line = next(one for one in _STATUS.read_text().splitlines() if one.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Print both numbers as JSON."""
    with torch.inference_mode():
        print(json.dumps(measure(sys.argv[1], "--small" not in sys.argv)))


if __name__ == "__main__":
    main()
