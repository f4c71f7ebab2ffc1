"""``sightline doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.opening import opened_by
from sightline.cli.options import Data, Json

if TYPE_CHECKING:
    from rich.console import Console

    from sightline.settings import Settings
    from sightline.types import OnProgress
    from sightline.upkeep.findings import Finding
    from sightline.upkeep.repair import Repaired
    from sightline.upkeep.repair_bytes import RepairedBytes
    from sightline.wiring import Installation

MOST_NAMES = 100
"""Names below one finding on a terminal; the JSON document has all."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Do not read every file in full.")] = False,
    originals: Annotated[
        bool, typer.Option("--originals", help="Read originals that lie outside of the store, too.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="First repair what is lost or damaged from what is left.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Look at this model alone, unloaded: demo, a folder, a hub id."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Of --model: branch, tag or commit on the hub.")
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """What is installed and reachable, and whether what is stored is what was written."""
    from sightline.cli.output import OK, PARTLY_FAILED, print_json, progress
    from sightline.settings import load_settings

    settings = load_settings(data)
    if model is not None:
        from sightline.cli.model_report import report

        raise typer.Exit(OK if report(settings, model, revision, as_json=json) else PARTLY_FAILED)
    repairs = _repair(settings) if repair else []
    with opened_by(settings) as services, progress() as show:
        findings = services.doctor.examine(quick=quick, originals=originals, show=show)
    healthy = not any(finding.status == "problem" for finding in findings)
    if json:
        told: dict[str, Any] = {"repairs": [asdict(one) for one in repairs]} if repair else {}
        print_json({"healthy": healthy, **told, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    raise typer.Exit(OK if healthy else PARTLY_FAILED)


def _print(findings: Sequence[Finding]) -> None:
    from sightline.console import answers

    colours = {"ok": "green", "note": "yellow", "problem": "red"}
    console = answers()
    for finding in findings:
        colour = colours[finding.status]
        console.print(f"[{colour}]{finding.status:>7}[/]  [bold]{finding.subject}[/]", end="  ")
        console.print(finding.detail, markup=False, soft_wrap=True)
        for name in finding.names[:MOST_NAMES]:
            console.print(f"           {name}", markup=False, soft_wrap=True)


def _repair(settings: Settings) -> list[Repaired | RepairedBytes]:
    """Originals first: segments are made again from them. A catalog that cannot be read repairs nothing."""
    from sightline.cli.output import progress
    from sightline.console import remarks
    from sightline.errors import SightlineError

    done: list[Repaired | RepairedBytes] = []
    console = remarks()
    with opened_by(settings) as services:
        try:
            with progress() as show:
                for one, line in _repairs(services, show):
                    done.append(one)
                    console.print(line, markup=False, soft_wrap=True)
        except SightlineError as error:
            _complain(console, error)
    return done


def _repairs(services: Installation, show: OnProgress) -> Iterator[tuple[Repaired | RepairedBytes, str]]:
    """Each repair with its line."""
    for blob in services.bytes_repair.run(show):
        yield blob, f"{blob.name}: {blob.what}: {blob.problem or 'made again'}"
    for one in services.repair.run():
        subject = f"{one.collection}: {one.file}" if one.file else f"{one.collection}: lost images"
        made = f"made again with {one.images} images"
        if one.forgotten:
            made = f"forgotten; the {one.forgotten} images in it are encoded again when they are needed"
        yield one, f"{subject}: {made}; {one.problem}" if one.problem else f"{subject}: {made}"


def _complain(console: Console, error: Exception) -> None:
    console.print(f"The repair ended early. {error}", markup=False, soft_wrap=True)
