"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Data folder (SIGHTLINE_DATA; ./sightline-data).", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]
CollectionName = Annotated[str, typer.Option("--collection", "-c", metavar="NAME", help="The collection.")]
Filter = Annotated[
    str | None,
    typer.Option("--filter", metavar="JSON", help="Metadata filter, see docs/cli.md.", show_default=False),
]
