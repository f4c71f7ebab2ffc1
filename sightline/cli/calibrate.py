"""``sightline calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli.opening import opened
from sightline.cli.options import CollectionName, Data, Json

if TYPE_CHECKING:
    from sightline.upkeep.calibrating import CalibrationReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(calibrate)


def calibrate(
    collection: CollectionName,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSONL or CSV: query, image (id), relevant (0 or 1)."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the reliability diagram there.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Go back to the calibration of the model's own checkpoint.")
    ] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Fit the match probabilities of a collection to labels, or its captions; say how well they fit."""
    from sightline.cli.drawings import check_drawing
    from sightline.cli.output import print_json, progress
    from sightline.console import answers
    from sightline.errors import InputError
    from sightline.upkeep.calibration_labels import read_labels

    if reset and (labels is not None or plot is not None):
        raise InputError("The option --reset fits nothing; leave out --labels and --plot.")
    check_drawing(plot)
    told = None if labels is None else read_labels(labels)
    with opened(data, collection) as services:
        if reset:
            version = services.calibrating.reset(collection)
            if json:
                print_json({"collection": collection, "version": version, "kind": "default"})
            else:
                answers().print(
                    f"Collection {collection} has its model's own calibration (version {version})."
                )
            return
        with progress() as show:
            report = services.calibrating.fit(collection, told, show)
    if plot is not None:
        _draw(report, plot)
    if json:
        print_json(report)
    else:
        _print(report)


def _draw(report: CalibrationReport, plot: Path) -> None:
    from sightline.cli.drawings import write_drawing
    from sightline.upkeep.calibration_plot import reliability_png

    write_drawing(plot, reliability_png(report))


def _print(report: CalibrationReport) -> None:
    from sightline.console import answers, remarks

    console = answers()
    numbers = ", ".join(
        f"{name} {value:.3f}"
        for name, value in report.parameters.items()
        if isinstance(value, float) and report.kind == "platt" and name in ("temperature", "bias")
    )
    console.print(
        f"{report.kind} {numbers}, fitted on {report.fitted_pairs:,} pairs ({report.fitted_right:,} right).",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(
        f"Calibration error on {report.held_out_pairs:,} held-out pairs ({report.held_out_right:,} right) of "
        f"{report.held_out_queries:,} queries: softmax {report.ece_raw:.4f}, until now "
        f"{report.ece_before:.4f}, now {report.ece_after:.4f}.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    said = (
        "It is no better than what serves, which goes on serving."
        if report.version is None
        else f"It serves as version {report.version}; --reset goes back."
    )
    console.print(said, highlight=False)
    remarks().print(f"Fitted by {report.how}.", style="dim", markup=False, highlight=False, soft_wrap=True)
