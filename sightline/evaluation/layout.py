"""Tables of reports, none wider than 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table

from sightline.evaluation.comparisons import MEASURES, SIDES, Comparison, Difference, Side

ARROWS: dict[Side, str] = {"text_to_image": "text → image", "image_to_text": "image → text"}
EXPLANATION = (
    "Differences in points of 100 (MRR: mean reciprocal rank), with 95 % intervals: paired bootstrap over "
    "pictures, 2,000 resamples, seed 0. k: ITM judges that many candidates by ITC."
)
HEADINGS = ("score", "against", "k", *MEASURES)


def table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table whose first column stands left and whose others stand right."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE)
    for number, heading in enumerate(headings):
        made.add_column(heading, justify="right" if number else "left")
    for cells in rows:
        made.add_row(*cells, style="bold cyan" if cells[0] == "paper" else None)
    return made


def differences(comparisons: Sequence[Comparison]) -> list[Table]:
    """One table for each direction; in each cell the difference above its interval."""
    made = []
    for side in SIDES:
        rows = [cells(one, "\n") for one in comparisons if one.side == side]
        if rows:
            made.append(table(f"{ARROWS[side]}: differences", HEADINGS, rows))
    return made


def cells(comparison: Comparison, between: str) -> list[str]:
    """A row: the difference of each measure, ``between``, its interval."""
    values = [comparison.differences[name] for name in MEASURES]
    names = [comparison.score, comparison.against, str(comparison.k or "–")]
    return [*names, *(_cell(value, between) for value in values)]


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    return [
        "| " + " | ".join(headings) + " |",
        "|---|" + "--:|" * (len(headings) - 1),
        *("| " + " | ".join(cells) + " |" for cells in rows),
    ]


def markdown_differences(comparisons: Sequence[Comparison]) -> list[str]:
    """What ``differences`` prints, as Markdown."""
    lines = [EXPLANATION, ""]
    headings = ("score", "against", "k", "direction", *MEASURES)
    rows = []
    for one in comparisons:
        score, against, k, *values = cells(one, ", ")
        rows.append([score, against, k, ARROWS[one.side], *values])
    return [*lines, *markdown(headings, rows), ""]


def _cell(value: Difference, between: str) -> str:
    return f"{100 * value.mean:+.1f}{between}{100 * value.low:+.1f}…{100 * value.high:+.1f}"
