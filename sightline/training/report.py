"""What a training run achieved: recall before and after, loss curves, and everything that was left out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sightline.evaluation.data import DataProblem
from sightline.evaluation.metrics import RECALL_AT
from sightline.evaluation.report import EvalReport
from sightline.training.losses import LossLine

COLOURS = {"total": "#222222", "itc": "#4269d0", "itm": "#ff725c", "itg": "#3ca951"}


@dataclass(frozen=True)
class TrainReport:
    """One run. ``before`` and ``after`` evaluate the same pictures; ``after`` is None if it diverged."""

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
            "last_losses": self.losses[-1] if self.losses else None,
            "before": self.before.to_json(),
            "after": self.after.to_json() if self.after else None,
            "problems": [vars(problem) for problem in self.problems],
        }

    def render(self, console: Console) -> None:
        """Print recall before and after."""
        table = Table(title=_title(self), title_justify="left")
        for column in _COLUMNS:
            table.add_column(column, justify="left" if column == "score" else "right")
        for cells in _lines(self):
            table.add_row(*cells)
        console.print(table)
        if self.message:
            console.print(self.message, markup=False)
        if self.problems:
            console.print(
                f"{len(self.problems)} left out (listed in {Path(self.out, 'report.md')})", markup=False
            )

    def write(self, folder: Path) -> None:
        """report.json, report.md and losses.png."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")
        (folder / "report.md").write_text(_markdown(self))
        _plot(self, folder / "losses.png")


_COLUMNS = (
    "score",
    "k",
    *(f"{way} R@{at}" for way in ("t→i", "i→t") for at in RECALL_AT),
    "95 % of t→i R@10",
)


def _title(report: TrainReport) -> str:
    measured = f"{report.before.images:,} pictures ({report.measured}), {report.before.texts:,} texts"
    chance = 100 * min(1.0, 10 / max(report.before.images, 1))
    return (
        f"{report.steps:,} steps on {report.pictures:,} pictures; recall in %, before → after, on {measured} "
        f"(chance at t→i R@10: {chance:.1f})"
    )


def _lines(report: TrainReport) -> list[list[str]]:
    after = report.after or report.before
    lines = []
    for number, (old, new) in enumerate(zip(report.before.rows, after.rows, strict=True)):
        cells = [old.score, str(old.k or "–")]
        for side in ("text_to_image", "image_to_text"):
            pairs = ((getattr(old, side)[at], getattr(new, side)[at]) for at in RECALL_AT)
            cells += [
                f"{100 * x:.1f} → {100 * y:.1f}" if report.after else f"{100 * x:.1f}" for x, y in pairs
            ]
        spans = [report.before.intervals[number], after.intervals[number]][: 2 if report.after else 1]
        cells.append(" → ".join(f"{100 * low:.1f}–{100 * high:.1f}" for low, high in spans))
        lines.append(cells)
    return lines


def _markdown(report: TrainReport) -> str:
    lines = [f"# Training: {report.state}", "", f"{_title(report)}; {report.seconds:,.0f} s.", ""]
    lines += [report.message, ""] if report.message else []
    lines += ["| " + " | ".join(_COLUMNS) + " |", "|---|" + "--:|" * (len(_COLUMNS) - 1)]
    lines += ["| " + " | ".join(cells) + " |" for cells in _lines(report)]
    lines += ["", "![loss curves](losses.png)", "", "## Settings", ""]
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
