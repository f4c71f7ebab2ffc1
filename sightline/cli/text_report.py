"""A report about the texts of a collection, on a terminal and in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline.captioner.report import CapFiltReport


def write_report(made: CapFiltReport, folder: Path) -> None:
    """Write ``report.json`` and ``histogram.png`` into a folder. UnavailableError: without matplotlib."""
    import json

    from sightline.captioner.histograms import histogram_png
    from sightline.store.storage import make_folder, writing

    png = histogram_png(made)
    make_folder(folder, "The folder of the report")
    with writing(folder):
        (folder / "report.json").write_text(json.dumps(made.to_json(), indent=2), encoding="utf-8")
        (folder / "histogram.png").write_bytes(png)


def show_report(made: CapFiltReport) -> None:
    """Print counts by source, the histogram and a few examples."""
    from sightline.captioner.histograms import histogram_lines
    from sightline.cli.tables import Column, print_table
    from sightline.console import answers

    names = ("kept", "dropped", "unjudged", "overruled")
    rows = [[one.source, *(f"{vars(one)[name]:,}" for name in names)] for one in made.sources]
    print_table(("source", *names), rows)
    console = answers()
    kept = "" if made.threshold is None else f"; kept from {made.threshold:g} on"
    console.print(f"\nMatch probability{kept}:", highlight=False)
    for line in histogram_lines(made.histogram):
        console.print(line, markup=False, highlight=False)
    for title, examples in (("Kept", made.kept_examples), ("Dropped", made.dropped_examples)):
        if examples:
            console.print(f"\n{title}, for example:")
            cells = [[_match(one), one["id"], one["text"]] for one in examples]
            print_table(("match", Column("image", "name"), Column("text", "text")), cells)


def _match(example: dict[str, Any]) -> str:
    probability = example["match_probability"]
    return "–" if probability is None else f"{probability:.3f}"
