"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from sightline.cli.completing import collection_names
from sightline.cli.opening import only_collection
from sightline.console import remarks
from sightline.errors import InputError, NotFoundError

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


def was_given(ctx: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def only_one(ctx: typer.Context) -> str:
    """The collection of a command that was told none. Raises as `only_collection`."""
    return only_collection(ctx.params.get("data"))


def _left_out() -> None:
    """What an option is that was left out: no text, so that an empty one is refused as a name."""


def _the_only_one(ctx: typer.Context, value: str | None) -> str:
    if value is not None or ctx.resilient_parsing:
        return value or ""
    return only_one(ctx)


def _named_or_only(ctx: typer.Context, value: str | None) -> str:
    if value is not None or ctx.resilient_parsing:
        return value or ""
    try:
        only = only_one(ctx)
    except NotFoundError as error:
        raise InputError("Name the new collection: -c NAME.") from error
    remarks().print(f"Into the collection {only}, the only one.", markup=False, soft_wrap=True)
    return only


Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Data folder (SIGHTLINE_DATA; ./sightline-data if in use, else the user's own).",
        show_default=False,
        is_eager=True,  # a collection that is left out is looked up in it
        parser=folder,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]
CollectionName = Annotated[
    str,
    typer.Option(
        "--collection",
        "-c",
        metavar="NAME",
        help="The collection; may be left out when there is one.",
        default_factory=_left_out,
        callback=_the_only_one,
        show_default=False,
        autocompletion=collection_names,
    ),
]
NewCollection = Annotated[
    str,
    typer.Option(
        "--collection",
        "-c",
        metavar="NAME",
        help="The collection, made if there is none of that name; may be left out when there is one.",
        default_factory=_left_out,
        callback=_named_or_only,
        show_default=False,
        autocompletion=collection_names,
    ),
]
Show = Annotated[bool, typer.Option("--open", help="Show what was found on one page in the browser.")]
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
