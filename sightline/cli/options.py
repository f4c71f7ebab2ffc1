"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from sightline.errors import InputError

Choice = TypeVar("Choice", bound=str)


def folder(text: str) -> Path:
    """The folder that an option names. InputError for an empty text, which would mean the current folder."""
    if not text:
        raise InputError("The option --data is empty; name a folder, such as . for the current one.")
    return Path(text)


def one_of(option: str, text: str, choices: tuple[Choice, ...]) -> Choice:
    """The choice that an option names. Raises InputError: it is none of them."""
    for choice in choices:
        if choice == text:
            return choice
    raise InputError(f"The option {option} is one of {', '.join(choices)}, not {text!r}.")


def numbers(option: str, text: str) -> tuple[int, ...]:
    """The whole numbers that an option lists with commas. Raises InputError: some are not, or below 1."""
    try:
        found = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InputError(f"The option {option} takes whole numbers with commas, not {text!r}.") from error
    if found and min(found) < 1:
        raise InputError(f"The option {option} takes numbers from 1 on.")
    return found


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
Images = Annotated[
    Path, typer.Option(metavar="DIR", help="The folder that the data's file names start from.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of the model on the hub.")]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, mps, …; the installation's, else the best there is.")
]
HubCache = Annotated[
    Path | None,
    typer.Option("--cache-dir", metavar="DIR", help="Where models of the hub are kept; the installation's."),
]
Lines = Annotated[
    float, typer.Option(min=0, help="Off a terminal, seconds between two lines that say how far it is.")
]
