"""What a run of stage 2 or of instruction tuning achieved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sightline.evaluation.data import DataProblem
from sightline.training.answer_validation import Judged
from sightline.training.losses import LossLine


@dataclass(frozen=True)
class AnswerReport:
    """One run. ``before`` and ``after`` judge the same examples; ``after`` is None if it diverged."""

    state: str
    out: str
    settings: dict[str, Any]
    examples: int
    measured: str
    measured_examples: int
    steps: int
    seconds: float
    before: Judged
    after: Judged | None
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
            "examples": self.examples,
            "measured": self.measured,
            "measured_examples": self.measured_examples,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "last_losses": self.losses[-1] if self.losses else None,
            "before": vars(self.before),
            "after": vars(self.after) if self.after else None,
            "problems": [vars(problem) for problem in self.problems],
        }

    def render(self, console: Console) -> None:
        """Print loss and right answers, before and after."""
        table = Table(title=self._title(), title_justify="left")
        for column in ("", "before", "after"):
            table.add_column(column, justify="right" if column else "left")
        for cells in self._lines():
            table.add_row(*cells)
        console.print(table)
        if self.message:
            console.print(self.message, markup=False)
        if self.problems:
            where = Path(self.out, "report.md")
            console.print(f"{len(self.problems)} left out (listed in {where})", markup=False)

    def write(self, folder: Path) -> None:
        """report.json and report.md."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")
        (folder / "report.md").write_text(self._markdown())

    def _title(self) -> str:
        return (
            f"{self.steps:,} steps on {self.examples:,} examples; measured on {self.measured_examples:,} "
            f"({self.measured})"
        )

    def _lines(self) -> list[list[str]]:
        after = self.after
        loss = [f"{self.before.loss:.3f}", f"{after.loss:.3f}" if after else "–"]
        right = [f"{100 * self.before.right:.1f}", f"{100 * after.right:.1f}" if after else "–"]
        return [["nats a token of the answers", *loss], ["answers exactly right, %", *right]]

    def _markdown(self) -> str:
        lines = [f"# Training: {self.state}", "", f"{self._title()}; {self.seconds:,.0f} s.", ""]
        lines += [self.message, ""] if self.message else []
        lines += ["| | before | after |", "|---|--:|--:|"]
        lines += ["| " + " | ".join(cells) + " |" for cells in self._lines()]
        lines += ["", "## Settings", "", *(f"- {name}: {value}" for name, value in self.settings.items())]
        lines += ["", f"## Left out: {len(self.problems)}", "", *(f"- {one}" for one in self.problems)]
        return "\n".join(lines) + "\n"
