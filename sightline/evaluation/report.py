"""What an evaluation found: a table, JSON, Markdown and a plot, with the paper's numbers beside ours."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePath
from typing import Any

from rich.console import Console

from sightline.evaluation import layout
from sightline.evaluation.comparisons import SIDES, Answers, Comparison, Side
from sightline.evaluation.config import TextHandling
from sightline.evaluation.data import DataProblem
from sightline.evaluation.layout import ARROWS
from sightline.evaluation.metrics import RECALL_AT

PAPER_K = 128
# BLIP-2 (arXiv 2301.12597), table 5, ViT-g, k = 128 (docs/scoring.md, trap 9).
PAPER: dict[tuple[str, str, int], dict[str, dict[int, float]]] = {
    ("blip2-itm-vit-g-coco", "coco", 5000): {
        "text_to_image": {1: 0.683, 5: 0.877, 10: 0.926},
        "image_to_text": {1: 0.854},
    },
    ("blip2-itm-vit-g-coco", "flickr30k", 1000): {
        "text_to_image": {1: 0.897, 5: 0.981, 10: 0.989},
        "image_to_text": {1: 0.976},
    },
}


@dataclass(frozen=True)
class Row:
    """One line of the table. ``k`` is None for ITC alone; recalls are shares of 1; seconds are per query."""

    score: str
    k: int | None
    text_to_image: dict[int, float]
    image_to_text: dict[int, float]
    text_to_image_seconds: float
    image_to_text_seconds: float


@dataclass(frozen=True)
class EvalReport:
    """The outcome of one evaluation.

    ``intervals`` has each row's 95 % bootstrap of text→image R@10, ``comparisons`` what is better than what;
    ``answers`` are the ranks that all this was made of, which JSON leaves out.
    """

    model: str
    fingerprint: str
    dataset: str
    split: str
    images: int
    texts: int
    text: TextHandling
    device: str
    rows: tuple[Row, ...]
    intervals: tuple[tuple[float, float], ...]
    problems: tuple[DataProblem, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    answers: Answers | None = field(default=None, compare=False, repr=False)

    def paper(self) -> dict[str, dict[int, float]] | None:
        """The published numbers for this checkpoint, data set and test split, if there are any."""
        if self.split != "test":
            return None
        return PAPER.get((PurePath(self.model).name, self.dataset, self.images))

    def row(self, score: str, k: int | None = None) -> Row:
        """The line of this score and k."""
        return next(row for row in self.rows if (row.score, row.k) == (score, k))

    def to_json(self) -> dict[str, Any]:
        """Plain values; the keys of recalls become strings in JSON."""
        plain = {name: value for name, value in asdict(self).items() if name != "answers"}
        return {**plain, "paper": self.paper(), "paper_k": PAPER_K if self.paper() else None}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> EvalReport:
        """What ``to_json`` wrote."""
        known = {part.name for part in fields(cls)}
        plain = {name: value for name, value in raw.items() if name in known}
        plain["rows"] = tuple(_row_from_json(row) for row in raw["rows"])
        plain["intervals"] = tuple((low, high) for low, high in raw["intervals"])
        plain["problems"] = tuple(DataProblem(**problem) for problem in raw["problems"])
        plain["comparisons"] = tuple(Comparison.from_json(one) for one in raw.get("comparisons", ()))
        plain["answers"] = Answers(**raw["answers"]) if raw.get("answers") else None
        return cls(**plain)

    def render(self, console: Console) -> None:
        """Print the tables."""
        console.print(_header(self), markup=False)
        for side in SIDES:
            console.print(layout.table(f"{ARROWS[side]}: recall in %", _HEADINGS, _lines(self, side)))
        if self.comparisons:
            console.print(layout.EXPLANATION, markup=False)
            for made in layout.differences(self.comparisons):
                console.print(made)
        if self.problems:
            console.print(f"{len(self.problems)} left out:")
            for problem in self.problems[:20]:
                console.print(f"  {problem}", markup=False, highlight=False)

    def write(self, folder: Path) -> None:
        """report.json, report.md and recall.png."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")
        (folder / "report.md").write_text(_markdown(self))
        _plot(self, folder / "recall.png")


def _row_from_json(raw: dict[str, Any]) -> Row:
    sides = ("text_to_image", "image_to_text")
    return Row(**{**raw, **{side: {int(k): share for k, share in raw[side].items()} for side in sides}})


def _header(report: EvalReport) -> str:
    data = f"{report.dataset} ({report.split}): {report.images:,} pictures, {report.texts:,} texts"
    return f"{report.model} on {data}, text handling {report.text}, {report.device}"


_HEADINGS = ("score", "k", *(f"R@{at}" for at in RECALL_AT), "95 % of R@10", "ms/query")


def _lines(report: EvalReport, side: Side) -> list[list[str]]:
    paper = report.paper()
    lines = []
    for row, interval in zip(report.rows, report.intervals, strict=True):
        lines.append(_cells(row, side, interval))
        if paper and (row.score, row.k) == ("itm+itc", PAPER_K):
            values = [paper[side].get(at) for at in RECALL_AT]
            shown = ("–" if value is None else f"{100 * value:.1f}" for value in values)
            lines.append(["paper", str(PAPER_K), *shown, "–", "–"])
    return lines


def _cells(row: Row, side: Side, interval: tuple[float, float]) -> list[str]:
    to_image = side == "text_to_image"
    recalls = row.text_to_image if to_image else row.image_to_text
    seconds = row.text_to_image_seconds if to_image else row.image_to_text_seconds
    span = f"{100 * interval[0]:.1f}…{100 * interval[1]:.1f}" if to_image else "–"
    shares = (f"{100 * recalls[at]:.1f}" for at in RECALL_AT)
    return [row.score, str(row.k or "–"), *shares, span, f"{1000 * seconds:.1f}"]


def _markdown(report: EvalReport) -> str:
    lines = [f"# {_header(report)}", ""]
    for side in SIDES:
        lines += [f"## {ARROWS[side]}", "", *layout.markdown(_HEADINGS, _lines(report, side)), ""]
    lines += ["Recall in percent; times from cached patches. Fingerprint `" + report.fingerprint + "`.", ""]
    if report.comparisons:
        lines += ["## Differences", "", *layout.markdown_differences(report.comparisons)]
    if report.problems:
        lines += [f"Left out ({len(report.problems)}):", *(f"- {problem}" for problem in report.problems)]
    return "\n".join(lines) + "\n"


def _plot(report: EvalReport, path: Path) -> None:
    """Recall against k on the left axis, milliseconds per query on the right one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    _plot_direction(left, report, "text_to_image", "text → image")
    _plot_direction(right, report, "image_to_text", "image → text")
    figure.suptitle(_header(report), fontsize=9)
    figure.savefig(path, dpi=140)
    pyplot.close(figure)


def _plot_direction(axes: Any, report: EvalReport, side: str, title: str) -> None:
    rows = [row for row in report.rows if row.score == "itm+itc"]
    ks = [row.k for row in rows]
    itc = getattr(report.row("itc"), side)
    for at, colour in zip(RECALL_AT, ("#4269d0", "#3ca951", "#ff8ab7"), strict=True):
        axes.plot(
            ks, [100 * getattr(row, side)[at] for row in rows], "o-", color=colour, label=f"R@{at} ITM + ITC"
        )
        axes.axhline(100 * itc[at], color=colour, linestyle=":", linewidth=1)
    axes.set(xlabel="candidates k (dotted: ITC alone)", ylabel="recall, %", title=title, ylim=(0, 100))
    if ks:
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
    times = axes.twinx()
    seconds = [1000 * getattr(row, f"{side}_seconds") for row in rows]
    times.plot(ks, seconds, "s--", color="#9c6b4e", alpha=0.6, label="time")
    times.tick_params(axis="y", colors="#9c6b4e")
    times.yaxis.label.set_color("#9c6b4e")
    times.set(ylabel="ms per query (dashed)", ylim=(0, 1.15 * max([*seconds, 1e-9])))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, loc="lower right")
