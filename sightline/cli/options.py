"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.errors import InputError


def folder(text: str) -> Path:
    """The folder that an option names. InputError for an empty text, which would mean the current folder."""
    if not text:
        raise InputError("The option --data is empty; name a folder, such as . for the current one.")
    return Path(text)


Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Data folder (SIGHTLINE_DATA; ./sightline-data).",
        show_default=False,
        parser=folder,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]
CollectionName = Annotated[str, typer.Option("--collection", "-c", metavar="NAME", help="The collection.")]
Filter = Annotated[
    str | None,
    typer.Option("--filter", metavar="JSON", help="Metadata filter, see docs/cli.md.", show_default=False),
]
