"""``sightline generations sync``: an index on a server agrees with the catalog again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from sightline.cli.opening import opened
from sightline.cli.options import CollectionName, Data, Json

if TYPE_CHECKING:
    from sightline.upkeep.index_sync import Synced


def register(group: typer.Typer) -> None:
    """Add the command to the group ``generations``."""
    group.command("sync")(sync)
    group.callback()(_group)


def _group() -> None:
    """The indexes of collections."""


def sync(collection: CollectionName, data: Data = None, json: Json = False) -> None:
    """Make Milvus hold again what the catalog says, after it lost something.

    Exit code 1: it still does not, because images are in no segment any more.
    """
    from sightline.cli.output import OK, PARTLY_FAILED, print_json
    from sightline.console import answers

    with opened(data, collection) as services:
        found = services.index_sync.run(collection)
    if json:
        print_json(_row(found))
    else:
        answers().print(_sentence(found), markup=False, soft_wrap=True)
    raise typer.Exit(OK if found.agrees else PARTLY_FAILED)


def _row(found: Synced) -> dict[str, Any]:
    done = None if found.done is None else found.done._asdict()
    return asdict(found) | {"done": done, "agrees": found.agrees}


def _sentence(found: Synced) -> str:
    if found.kind is None:
        return f"{found.collection}: there is no index yet; the builder makes one."
    if not found.remote:
        return f"{found.collection}: its index ({found.kind}) lies in files: there is nothing to sync."
    said = [f"{found.collection}, generation {found.generation}:"]
    done = found.done
    if done is not None:
        said += ["its Milvus collection was gone and is there again;"] if done.recreated else []
        said.append(f"{done.inserted:,} images inserted, {done.deleted:,} deleted.")
        said += [f"{done.lacking:,} images are in no segment any more."] if done.lacking else []
    if found.rebuilt:
        said.append("It was built anew.")
    elif not found.agrees:
        said.append("It was not built anew, because the catalog has moved on: run this again.")
    return " ".join(said)
