"""What the parts of benchmarks/gpu.py share: an end, timings that wait for the device, figures.

A figure is printed as it comes and is one JSON line in a file: what was measured before a part failed or was
ended stays.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import Timing

WARM_UP = 3
"""Unmeasured runs: the first chooses kernels, the second records graphs, the third replays one."""


@dataclass(frozen=True)
class Plan:
    """What one part is given."""

    device: torch.device
    full: bool
    """The real geometry, else a toy's: seconds, and figures that mean nothing."""
    ends: float
    """By time.monotonic."""
    keep: tuple[float, ...] = ()
    """Shares of all candidates that go through each of the equal stages of a cascade, the first included."""

    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self.ends - time.monotonic())

    def until(self, share: float) -> Plan:
        """The same with that share of the time that is left."""
        return Plan(self.device, self.full, time.monotonic() + share * self.left(), self.keep)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"


@dataclass(frozen=True)
class Goal:
    """What a figure should be."""

    bound: float
    at_most: bool = False

    def met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


@dataclass(frozen=True)
class Figure:
    """One number with its unit."""

    name: str
    what: str
    value: float
    unit: str
    goal: str = ""
    met: bool | None = None
    """None: there is no goal, or this was no measurement of it."""


@dataclass
class Report:
    """Figures and remarks of one part, printed as they come."""

    full: bool
    file: Path | None = None
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def figure(self, name: str, what: str, value: float, unit: str, goal: Goal | None = None) -> None:
        met = goal.met(value) if goal is not None and self.full else None
        one = Figure(name, what, value, unit, "" if goal is None else str(goal), met)
        self.figures.append(one)
        wanted = f"  (goal {goal})" if goal is not None else ""
        print(f"  {name}: {value:.4g} {unit}{wanted}  {what}", flush=True)
        self._write({"figure": asdict(one)})

    def times(self, name: str, what: str, timing: Timing, goal: Goal | None = None) -> None:
        """A median in milliseconds, the range in what is said of it."""
        low, high = 1e3 * min(timing.seconds), 1e3 * max(timing.seconds)
        spread = f"{what} ({low:.3g} to {high:.3g}, n={len(timing.seconds)})"
        self.figure(name, spread, 1e3 * timing.median, "ms", goal)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)
        print(f"  - {sentence}", flush=True)
        self._write({"note": sentence})

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def read_report(file: Path) -> tuple[list[Figure], list[str]]:
    """What a part wrote, and be it cut off."""
    figures, notes = [], []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            read = json.loads(line)
        except ValueError:
            break
        if "figure" in read:
            figures.append(Figure(**read["figure"]))
        else:
            notes.append(read["note"])
    return figures, notes


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """From before the first launch until the device is done: what somebody waits."""
    wait_for(device)
    began = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - began


def in_turns(programs: Mapping[str, Callable[[], object]], plan: Plan, report: Report) -> dict[str, Timing]:
    """Time all in turns after warming up, 3 to 15 rounds as time allows; what fails is told and left out."""
    costs: dict[str, float] = {}
    for name, run in programs.items():
        try:
            costs[name] = [seconds_of(run, plan.device) for _ in range(WARM_UP if plan.full else 1)][-1]
        except (RuntimeError, ImportError) as error:
            report.note(f"{name} was not measured: {sentence(error)}")
            free(plan.device)
        if not plan.left():
            report.note(f"The time was up after {name} was warmed up.")
            break
    rounds = int(min(15, max(3, plan.left() // max(sum(costs.values()), 1e-3)))) if plan.full else 1
    found: dict[str, list[float]] = {name: [] for name in costs}
    for _ in range(rounds):
        for name in costs:
            found[name].append(seconds_of(programs[name], plan.device))
    return {name: Timing(tuple(seconds)) for name, seconds in found.items()}


def wait_for(device: torch.device) -> None:
    """Until everything that was launched is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def sentence(error: BaseException) -> str:
    """The first line of an error, which is what a reader needs."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:300]


def peak_note(plan: Plan, report: Report) -> None:
    """How much memory of the device was taken at most."""
    if plan.on_gpu:
        taken = torch.cuda.max_memory_allocated(plan.device) / 2**30
        report.note(f"At most {taken:.1f} GiB of the device's memory were allocated.")
