"""What one GPU does, in one command of at most 8 minutes: reranking, embedding, training, search.

``python -m benchmarks.gpu [--device cuda] [--minutes 8] [--out build/gpu.json] [--only rerank,embed]``, or
``make bench-gpu``. Each part runs beside stock transformers, reranking beside the LAVIS loop, in one process:

* ``rerank``: 1,000 candidates from the latent cache in device memory (benchmarks/gpu_rerank.py);
* ``embed``: from JPEG files to published segments, by worker processes (benchmarks/gpu_embedding.py);
* ``train``: steps a second of BLIP-2's stage 1 (benchmarks/gpu_training.py);
* ``search``: FAISS on the GPU against the CPU (benchmarks/gpu_search.py), where ``faiss-gpu`` is installed.

A part is a process with a share of the time. One that fails or stays too long is one sentence in the JSON;
what it measured by then is kept, and the others go on. Weights are random, at the geometry of
Salesforce/blip2-itm-vit-g at 224 px. On a CPU, or with ``--small``, everything runs at toy size: a check that
it runs, whose figures mean nothing. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_measuring import Figure, Plan, Report, read_report, sentence

SHARES = {"rerank": 0.3, "embed": 0.4, "train": 0.2, "search": 0.1}
"""Parts in their order, with their part of the time; what one leaves is for those after it."""
MODULES = {
    "rerank": "gpu_rerank",
    "embed": "gpu_embedding",
    "train": "gpu_training",
    "search": "gpu_search_part",
}
GRACE = 15.0
"""Seconds that a part may take beyond its time before it is ended: for imports and what it began."""
KEEP = (0.5, 0.25)
"""Shares of all candidates that go on after each stop where no cascade was measured."""
CASCADE = Path("build/bench-cascade.json")
LEAST = 20.0
"""Seconds without which a part is not begun."""


@dataclass(frozen=True)
class Options:
    """What the command was told."""

    device: str
    full: bool
    keep: tuple[float, ...]
    """Shares of all candidates that go through each stage, the first included."""
    out: Path

    def file(self, part: str) -> Path:
        """Where a part writes as it measures."""
        return self.out.with_name(f"{self.out.stem}-{part}.jsonl")


@dataclass
class Part:
    """What came of one."""

    name: str
    seconds: float = 0.0
    failed: str | None = None
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()


def run_all(
    options: Options, names: Sequence[str], minutes: float, run_part: Callable[..., str | None]
) -> list[Part]:
    """Part after part; each gets its share of what is left, and the file is written anew after it."""
    ends = time.monotonic() + 60 * minutes
    parts: list[Part] = []
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        left, coming = ends - time.monotonic(), sum(SHARES[one] for one in names[number:])
        part = Part(name)
        began = time.monotonic()
        options.file(name).unlink(missing_ok=True)
        if options.full and left < LEAST:
            part.failed = "The time was up before it began."
        else:
            print(f"{name}:", flush=True)
            part.failed = run_part(name, options, left * SHARES[name] / coming)
        part.seconds = round(time.monotonic() - began, 1)
        part.figures, part.notes = read_report(options.file(name))
        parts.append(part)
        if part.failed is not None:
            print(f"  - {part.failed}", flush=True)
        write(options, parts)
    return parts


def run_apart(name: str, options: Options, seconds: float) -> str | None:
    """A part in a process of its own, ended when it stays too long. Why it failed, or None."""
    keep = ",".join(f"{share:g}" for share in options.keep)
    command = [sys.executable, "-m", "benchmarks.gpu", "--inside", name, "--seconds", f"{seconds:.0f}"]
    command += ["--device", options.device, "--out", str(options.out), "--shares", keep]
    return in_time([*command, *([] if options.full else ["--small"])], seconds + GRACE)


def in_time(command: Sequence[str], seconds: float) -> str | None:
    """Run a command; why it failed, or None."""
    try:
        done = subprocess.run(command, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"It was ended after {seconds:.0f} s; what it had measured is kept."
    return None if done.returncode == 0 else f"Its process ended with status {done.returncode}."


def run_here(name: str, options: Options, seconds: float) -> str | None:
    """A part in this process. Why it failed, or None."""
    import torch

    plan = Plan(
        torch.device(options.device), options.full, time.monotonic() + max(5.0, seconds - GRACE), options.keep
    )
    report = Report(options.full, options.file(name))
    try:
        importlib.import_module(f"benchmarks.{MODULES[name]}").run(plan, report)
    except Exception as error:  # whatever a part meets, the others go on
        return f"It failed: {sentence(error)}"
    return None


def write(options: Options, parts: Sequence[Part]) -> None:
    """All that is known so far, for programs."""
    figures = {figure.name: figure.value for part in parts for figure in part.figures}
    whole = {**figures, **surroundings(options), "parts": [asdict(part) for part in parts]}
    aside = options.out.with_suffix(".tmp")
    aside.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    aside.replace(options.out)


def surroundings(options: Options) -> dict[str, Any]:
    """Card, versions, date."""
    import torch

    from benchmarks.machine import machine

    on_gpu = options.device.startswith("cuda")
    return {
        "device": options.device,
        "card": torch.cuda.get_device_name(options.device) if on_gpu else "none",
        "driver": driver() if on_gpu else "none",
        "cuda": str(torch.version.cuda),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "full_size": options.full,
        "keep": options.keep,
        "weights": "random",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
    }


def driver() -> str:
    """The version of the GPU's driver, as nvidia-smi says it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return said.splitlines()[0].strip() if said.strip() else "unknown"


def markdown(options: Options, parts: Sequence[Part]) -> str:
    """A table for the README."""
    about = surroundings(options)
    size = "" if options.full else ", toy size: the figures mean nothing"
    lines = [f"{about['card']}, driver {about['driver']}, CUDA {about['cuda']}, {about['date']}{size}", ""]
    lines += ["| | figure | goal |", "|---|---|---|"]
    for part in parts:
        for figure in part.figures:
            mark = {None: "", True: ", met", False: ", missed"}[figure.met]
            value = f"{figure.value:,.4g} {figure.unit}"
            lines.append(f"| {part.name}: {figure.what} | {value} | {figure.goal}{mark} |")
        if part.failed is not None:
            lines.append(f"| {part.name} | – | {part.failed} |")
    return "\n".join(lines)


def kept_shares(given: str | None, file: Path = CASCADE) -> tuple[float, ...]:
    """Shares of all candidates that go through each stage.

    Those given for after each stop, those of a measured cascade (figures ``cascade_kept_1``, …), or `KEEP`.
    """
    if given is not None:
        return (1.0, *(float(one) for one in given.split(",")))
    figures = json.loads(file.read_text(encoding="utf-8"))["figures"] if file.exists() else {}
    names = sorted(
        (one for one in figures if one.startswith("cascade_kept_")), key=lambda one: (len(one), one)
    )
    return tuple(float(figures[one]) for one in names) or (1.0, *KEEP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 1 when a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu, which runs at toy size")
    parser.add_argument("--out", type=Path, default=Path("build/gpu.json"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--only", default=",".join(SHARES), help=f"some of {', '.join(SHARES)}")
    parser.add_argument(
        "--keep", help="shares of all candidates that go on after each stop, such as 0.5,0.25"
    )
    parser.add_argument("--small", action="store_true", help="toy size")
    parser.add_argument("--inside", choices=tuple(SHARES), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60.0, help=argparse.SUPPRESS)
    parser.add_argument("--shares", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    full = given.device != "cpu" and not given.small
    shares = tuple(map(float, given.shares.split(","))) if given.shares else kept_shares(given.keep)
    options = Options(given.device, full, shares, given.out)
    if given.inside:
        failed = run_here(given.inside, options, given.seconds)
        if failed is not None:
            print(f"  - {failed}", flush=True)
        return int(failed is not None)
    names = given.only.split(",")
    unknown = sorted(set(names) - set(SHARES))
    if unknown:
        parser.error(f"there is no part {unknown[0]}; choose from {', '.join(SHARES)}")
    _require(parser, given.device)
    parts = run_all(options, names, given.minutes - GRACE / 60 if full else given.minutes, run_apart)
    print(f"\n{markdown(options, parts)}\n\n{given.out}")
    return int(any(part.failed is not None for part in parts))


def _require(parser: argparse.ArgumentParser, device: str) -> None:
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --device cpu checks at toy size that everything runs.")


if __name__ == "__main__":
    sys.exit(main())
