"""``sightline generations set``: which kind of index a collection is to have."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.cli.opening import opened
from sightline.cli.options import CollectionName, Data, Json

DEFAULT = "default"
"""Stands for what the installation says."""


def register(group: typer.Typer) -> None:
    """Add the command to the group ``generations``."""
    group.command("set")(set_kind)


def set_kind(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="auto, exact, the name of a kind, or default: what the installation says."
        ),
    ],
    collection: CollectionName,
    data: Data = None,
    json: Json = False,
) -> None:
    """Choose the kind of index of a collection.

    The builder builds it; searches go on with the one that serves until it can take over.
    """
    from sightline.cli.output import print_json
    from sightline.console import answers

    with opened(data, collection) as services:
        found = services.index_kinds.ask(collection, None if kind == DEFAULT else kind)
        asked = found.index_kind or services.settings.retriever.index
    if json:
        print_json({"collection": found.name, "index": found.index_kind, "asked": asked})
        return
    answers().print(
        f"{found.name}: {asked}. The builder builds it when it fits; searches go on.", markup=False
    )
