"""``sightline doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli.options import Data, Json

if TYPE_CHECKING:
    from sightline.settings import Settings
    from sightline.upkeep.repair import Repaired


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Do not read every file in full.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="First make lost or damaged segments again from the originals.")
    ] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """What is installed and reachable, and whether catalog, segments and index agree."""
    from sightline.cli.output import OK, PARTLY_FAILED, print_json
    from sightline.console import answers
    from sightline.settings import load_settings
    from sightline.wiring import open_installation

    settings = load_settings(data)
    repairs = _repair(settings) if repair else []
    with open_installation(settings) as services:
        findings = services.doctor.examine(quick=quick)
    healthy = not any(finding.status == "problem" for finding in findings)
    if json:
        told = {"repairs": [asdict(one) for one in repairs]} if repair else {}
        print_json({"healthy": healthy, **told, "findings": [asdict(finding) for finding in findings]})
    else:
        colours = {"ok": "green", "note": "yellow", "problem": "red"}
        console = answers()
        for finding in findings:
            console.print(
                f"[{colours[finding.status]}]{finding.status:>7}[/]  [bold]{finding.subject}[/]", end="  "
            )
            console.print(finding.detail, markup=False, soft_wrap=True)
    raise typer.Exit(OK if healthy else PARTLY_FAILED)


def _repair(settings: Settings) -> list[Repaired]:
    from sightline.console import remarks
    from sightline.wiring import open_installation

    done: list[Repaired] = []
    console = remarks()
    with open_installation(settings) as services:
        for one in services.repair.run():
            done.append(one)
            outcome = one.problem or f"made again with {one.images} images"
            console.print(f"{one.collection}: segment {one.file}: {outcome}", markup=False, soft_wrap=True)
    return done
