"""``sightline generations``: the indexes of collections."""

from __future__ import annotations

import typer

from sightline.cli import generation_kind, generation_report, generations_sync


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="The indexes of collections.", no_args_is_help=True)
    generation_report.register(group)
    generation_kind.register(group)
    generations_sync.register(group)
    app.add_typer(group, name="generations")
