"""What a training run achieved: recall before and after, loss curves, and everything that was left out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from sightline.evaluation import layout
from sightline.evaluation.comparisons import SIDES, Comparison, Side, compare
from sightline.evaluation.data import DataProblem
from sightline.evaluation.layout import ARROWS
from sightline.evaluation.metrics import RECALL_AT
from sightline.evaluation.report import EvalReport
from sightline.training.best import Best
from sightline.training.losses import LossLine

COLOURS = {"total": "#222222", "itc": "#4269d0", "itm": "#ff725c", "itg": "#3ca951"}


@dataclass(frozen=True)
class TrainReport:
    """One run.

    ``before`` and ``after`` evaluate the same pictures; ``after`` is None if it diverged. ``best`` is of the
    model that ``out`` holds. ``processor_seconds`` are of this process with all of its threads, and like
    ``seconds`` of the last start if the run was resumed.
    """

    state: str
    out: str
    settings: dict[str, Any]
    pictures: int
    measured: str
    steps: int
    seconds: float
    before: EvalReport
    after: EvalReport | None
    losses: tuple[LossLine, ...]
    problems: tuple[DataProblem, ...]
    message: str = ""
    best: Best | None = None
    processor_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values; the loss curve stays in losses.jsonl, its last line is here."""
        return {
            "state": self.state,
            "message": self.message,
            "out": self.out,
            "settings": self.settings,
            "pictures": self.pictures,
            "measured": self.measured,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "processor_seconds": round(self.processor_seconds, 1),
            "best": {"step": self.best.step, "score": self.best.score} if self.best else None,
            "validation": [list(one) for one in self.best.scores] if self.best else [],
            "last_losses": self.losses[-1] if self.losses else None,
            "before": self.before.to_json(),
            "after": self.after.to_json() if self.after else None,
            "comparisons": [asdict(one) for one in self.comparisons()],
            "problems": [vars(problem) for problem in self.problems],
        }

    def render(self, console: Console) -> None:
        """Print recall before and after, and what is better than what."""
        console.print(_title(self), markup=False)
        for side in SIDES:
            console.print(layout.table(f"{ARROWS[side]}: recall in %", _HEADINGS, _lines(self, side)))
        console.print(layout.EXPLANATION, markup=False)
        for made in layout.differences(self.comparisons()):
            console.print(made)
        console.print(_held(self), markup=False)
        if self.message:
            console.print(self.message, markup=False)
        if self.problems:
            console.print(
                f"{len(self.problems)} left out (listed in {Path(self.out, 'report.md')})", markup=False
            )

    def comparisons(self) -> tuple[Comparison, ...]:
        """Each score against itself before, ITM against chance, and ITM + ITC against ITC."""
        if self.after is None:
            return self.before.comparisons
        old, new = self.before.answers, self.after.answers
        if old is None or new is None:
            return self.after.comparisons
        learned = (
            compare(side, row.score, "before", row.k, new.of(side, at), old.of(side, at), new.groups(side))
            for side in SIDES
            for at, row in enumerate(self.after.rows)
        )
        return (*learned, *self.after.comparisons)

    def write(self, folder: Path) -> None:
        """report.json, report.md and losses.png."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")
        (folder / "report.md").write_text(_markdown(self))
        _plot(self, folder / "losses.png")


_HEADINGS = (
    "score",
    "k",
    *(f"R@{at}\nbefore" for at in RECALL_AT),
    *(f"R@{at}\nafter" for at in RECALL_AT),
)


def _title(report: TrainReport) -> str:
    measured = f"{report.before.images:,} pictures ({report.measured}) with {report.before.texts:,} texts"
    return f"{report.steps:,} steps on {report.pictures:,} pictures, measured on {measured}"


def _held(report: TrainReport) -> str:
    if report.best is None:
        return f"{report.out} holds no model."
    if report.best.step == 0:
        return (
            f"{report.out} holds the model that training began with: no later one was better by validation."
        )
    return f"{report.out} holds the model of step {report.best.step:,}, the best by validation."


def _lines(report: TrainReport, side: Side) -> list[list[str]]:
    lines = []
    for number, row in enumerate(report.before.rows):
        shares = [row.text_to_image if side == "text_to_image" else row.image_to_text]
        if report.after is not None:
            after = report.after.rows[number]
            shares.append(after.text_to_image if side == "text_to_image" else after.image_to_text)
        values = [f"{100 * share[at]:.1f}" for share in shares for at in RECALL_AT]
        missing = ["–"] * (2 * len(RECALL_AT) - len(values))
        lines.append([row.score, str(row.k or "–"), *values, *missing])
    return lines


def _markdown(report: TrainReport) -> str:
    lines = [f"# Training: {report.state}", "", f"{_title(report)}; {report.seconds:,.0f} s.", ""]
    lines += [_held(report), ""]
    lines += [report.message, ""] if report.message else []
    headings = [heading.replace("\n", " ") for heading in _HEADINGS]
    for side in SIDES:
        title = f"## {ARROWS[side]}, recall in %, before → after"
        lines += [title, "", *layout.markdown(headings, _lines(report, side)), ""]
    lines += ["## Differences", "", *layout.markdown_differences(report.comparisons())]
    if report.best is not None:
        lines += ["## Validation", "", "| step | score |", "|--:|--:|"]
        lines += [f"| {step:,} | {score:.4f} |" for step, score in report.best.scores] + [""]
    lines += ["![loss curves](losses.png)", "", "## Settings", ""]
    lines += [f"- {name}: {value}" for name, value in report.settings.items()]
    lines += ["", f"## Left out: {len(report.problems)}", ""]
    lines += [f"- {problem}" for problem in report.problems]
    return "\n".join(lines) + "\n"


def _plot(report: TrainReport, path: Path) -> None:
    """Each objective's loss, faint, and its running mean, strong."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name, colour in COLOURS.items():
        points = [(line["step"], line[name]) for line in report.losses if name in line]
        if points:
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
            axes.plot(steps, _running_mean(values), color=colour, label=name, linewidth=1.6)
    axes.set(xlabel="step", ylabel="loss", title=f"{report.steps:,} steps on {report.pictures:,} pictures")
    axes.grid(alpha=0.25)
    if report.losses:
        axes.legend()
    figure.savefig(path, dpi=140)
    pyplot.close(figure)


def _running_mean(values: tuple[float, ...], window: int = 25) -> list[float]:
    chunks = (values[max(0, end - window) : end] for end in range(1, len(values) + 1))
    return [sum(chunk) / len(chunk) for chunk in chunks]
