"""What all benchmarks share: alternating measurements, a budget of time, and one shape for results.

Ours and theirs are timed in turns in one process, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    import torch

ENDS: Final = "BENCH_ENDS"
"""Environment: until when a benchmark may take, by the clock `Budget` reads, which processes share."""
FIGURES: Final = "BENCH_FIGURES"
"""Environment: the file that each figure is added to as it comes, one JSON object a line."""
_RESERVE: Final = 2.5
"""Another round begins only while there is time for so many: what comes after it needs some as well."""
_PRODUCT_S: Final = 0.3


@dataclass(frozen=True)
class Budget:
    """Until when something may take; without an end where none is given."""

    ends: float = math.inf
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def given(cls) -> Self:
        """That of this process: what ``make bench`` gave it, or one without an end."""
        return cls(float(os.environ.get(ENDS, "inf")))

    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self.ends - self.clock())

    def enough_for(self, seconds: float) -> bool:
        """Whether so many are left."""
        return self.left() >= seconds

    def part(self, share: float) -> Budget:
        """One that ends after ``share`` of what is left."""
        return Budget(self.clock() + share * self.left(), self.clock)


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


class Figures(dict[str, float]):
    """Names and values; each is told as it comes: a line, and one in the file that ``make bench`` reads.

    Assign with ``figures[name] = value`` or ``figures |= {…}``.
    """

    def __setitem__(self, name: str, value: float) -> None:
        super().__setitem__(name, value)
        print(f"{name} {value:.4g}", flush=True)
        if FIGURES in os.environ:
            with Path(os.environ[FIGURES]).open("a") as file:
                file.write(json.dumps({name: value}) + "\n")

    def __ior__(self, other: Mapping[str, float]) -> Self:  # type: ignore[override,misc]
        for name, value in other.items():
            self[name] = value
        return self


@dataclass
class Section:
    """The result of one benchmark."""

    title: str
    figures: Figures = field(default_factory=Figures)
    """Names and values for ``build/bench.json``."""
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plots: list[Path] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """What was not measured, and why: a sentence each."""

    def skip(self, sentence: str) -> None:
        """Say what is not measured here, and why."""
        self.skipped.append(sentence)
        print(f"skipped: {sentence}", flush=True)

    def show(self) -> None:
        """Print what was measured."""
        for row in self.rows:
            print(f"{row.what:60s} {row.ours}")
        for name, value in self.figures.items():
            print(f"{name} {value:.4f}")
        print(*self.notes, sep="\n")


def alternate(
    what: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 1, budget: Budget | None = None
) -> dict[str, Timing]:
    """Time every function in turns, ``rounds`` times after ``warmup`` unmeasured ones.

    Fewer rounds where ``budget`` (None: this process's) runs short, at least one; where not even that fits,
    the warm-up is what is reported. Each run is told on the error stream.
    """
    budget = Budget.given() if budget is None else budget
    found: dict[str, list[float]] = {name: [] for name in what}
    for turn in range(warmup + rounds):
        began = budget.clock()
        for name, run in what.items():
            started = time.perf_counter()
            run()
            found[name].append(time.perf_counter() - started)
            kind = "" if turn >= warmup else " (warm-up)"
            print(f"  {name}: {found[name][-1]:.3g} s{kind}", file=sys.stderr, flush=True)
        if not budget.enough_for(_RESERVE * (budget.clock() - began)):
            break
    return {name: Timing(tuple(each[min(warmup, len(each) - 1) :])) for name, each in found.items()}


def has_fast_bf16() -> bool:
    """Whether products in bfloat16 are worth timing here: this processor, as limited, has units for them.

    Elsewhere a reference kernel takes minutes for one that takes a second in float32.
    """
    import torch

    from benchmarks.machine import this_processor
    from sightline.blip.packed_linear import has_fast_bf16 as product_has

    used = this_processor().used
    return product_has(torch.device("cpu")) and bool({"avx512_bf16", "amx_bf16"} & set(used))


NO_BF16: Final = "this machine has no bf16 units, and products in bf16 would take minutes"


def product_side(dtype: torch.dtype, most: int = 4096) -> int:
    """The side of the square product to compare with: one that takes about 0.3 s here, at most ``most``."""
    import torch

    def seconds(side: int) -> float:
        left, right = (torch.randn(side, side).to(dtype) for _ in range(2))
        began = time.perf_counter()
        left @ right
        return time.perf_counter() - began

    with torch.inference_mode():
        return grown(seconds, most)


def grown(seconds: Callable[[int], float], most: int, start: int = 256, enough: float = _PRODUCT_S) -> int:
    """The first side, half as much again each time, whose product takes ``enough``; at most ``most``."""
    side = min(start, most)
    while side < most and seconds(side) < enough:
        side = min(most, side * 3 // 2)
    return side
