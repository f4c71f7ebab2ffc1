"""Long work on one's own machine, told while it goes: bars on a terminal, elsewhere a line now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from sightline.console import remarks

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress, TaskID

SECONDS = 30.0
"""How long a line stands before the next one."""
OBJECTIVES = ("itc", "itm", "itg")


class Follower(Protocol):
    """What training and evaluation tell of themselves."""

    def on_progress(self, stage: str, done: int, total: int) -> None:
        """How far a stage is."""
        ...

    def on_step(self, done: int, total: int, line: Mapping[str, float]) -> None:
        """The losses of one training step."""
        ...

    def on_remark(self, sentence: str) -> None:
        """A sentence to be read."""
        ...


@contextmanager
def following(seconds: float = SECONDS) -> Iterator[Follower]:
    """Whoever shows it on stderr: bars on a terminal, else a line every so many ``seconds`` of each stage."""
    console = remarks()
    if not console.is_terminal:
        yield Lines(console, seconds)
        return
    from sightline.cli.bars import progress_bars

    with progress_bars() as bars:
        yield Bars(bars)


@contextmanager
def keeping_best(out: Path, told: Follower) -> Iterator[None]:
    """Says of a training run that Ctrl-C stops which model its folder holds."""
    try:
        yield
    except KeyboardInterrupt:
        told.on_remark(_stopped(out))
        raise


def _stopped(out: Path) -> str:
    from sightline.training.best import read_best

    best = read_best(out)
    if best is None:
        return f"Stopped before the first step; {out} holds no model yet."
    return f"Stopped; {out} holds the best model so far, of step {best.step:,}, and --resume goes on."


class Bars:
    """A bar for each stage; that of training carries the losses."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def on_progress(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def on_step(self, done: int, total: int, line: Mapping[str, float]) -> None:
        """Write the losses beside the bar."""
        self.on_progress("train", done, total)
        self._bars.update(self._tasks["train"], description=f"train, {losses(line)}")

    def on_remark(self, sentence: str) -> None:
        """Print it above the bars."""
        self._bars.console.print(sentence, markup=False)


@dataclass
class _Stage:
    """When a stage began and what was done then; when its last line was written."""

    began: float
    first: int
    told: float


class Lines:
    """Plain lines without control characters, for logs: one when a stage begins, then one now and then, and
    one at its end.
    """

    def __init__(
        self, console: Console, seconds: float = SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._console = console
        self._seconds = seconds
        self._clock = clock
        self._stages: dict[str, _Stage] = {}

    def on_progress(self, stage: str, done: int, total: int) -> None:
        """A line if it is time for one; training's own lines say more (``on_step``)."""
        if stage != "train":
            self._tell(stage, done, total, "")

    def on_step(self, done: int, total: int, line: Mapping[str, float]) -> None:
        """A line if it is time for one: step, losses, learning rate, how fast, how long yet."""
        self._tell("train", done, total, f", {losses(line)}, lr {line['lr']:.1e}")

    def on_remark(self, sentence: str) -> None:
        """The sentence as a line."""
        self._print(sentence)

    def _tell(self, stage: str, done: int, total: int, more: str) -> None:
        now = self._clock()
        known = self._stages.get(stage)
        if known is None or done <= known.first:  # the same stage over other pictures, or again
            self._stages[stage] = known = _Stage(now, done, now - self._seconds)
        if now - known.told < self._seconds and done < total:
            return
        known.told = now
        unit = "step " if stage == "train" else ""
        self._print(f"{stage}: {unit}{done:,} of {total:,}{more}{_pace(known, now, done, total)}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def losses(line: Mapping[str, float]) -> str:
    """``loss 5.123 (itc 3.210, itm 1.913)``."""
    parts = ", ".join(f"{name} {line[name]:.3f}" for name in OBJECTIVES if name in line)
    return f"loss {line['total']:.3f}" + (f" ({parts})" if parts else "")


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _pace(stage: _Stage, now: float, done: int, total: int) -> str:
    passed, advanced = now - stage.began, done - stage.first
    if passed <= 0 or advanced <= 0:
        return ""
    if done >= total:
        return f", {advanced / passed:.2f} a second"
    return f", {advanced / passed:.2f} a second, {duration((total - done) * passed / advanced)} left"
