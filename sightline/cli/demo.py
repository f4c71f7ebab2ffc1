"""``sightline demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.cli.options import Data, Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the table instead of serving the page.")
    ] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the page (8000).")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Index the shipped pictures with the shipped model, search them, and serve the page."""
    from sightline.cli.demo_run import run
    from sightline.cli.processes import listening
    from sightline.errors import InputError
    from sightline.settings import load_settings

    if json and not once:
        raise InputError("The option --json needs --once: a server has no last word.")
    run(listening(load_settings(data), None, port), once=once, as_json=json)
