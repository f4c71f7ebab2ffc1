"""``sightline trash``: what was deleted, had back or given up. None of it loads a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.completing import collection_names
from sightline.cli.opening import opened
from sightline.cli.options import Data, Json

if TYPE_CHECKING:
    from sightline.store.records import Image
    from sightline.store.trash_records import Restored, TrashedCollection
    from sightline.store.work_records import ItemError
    from sightline.wiring import Installation

What = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID|NAME]…", help="Images of --collection; without it, deleted collections."),
]
Collection = Annotated[
    str | None,
    typer.Option(
        "--collection",
        "-c",
        metavar="NAME",
        help="The collection of the images.",
        autocompletion=collection_names,
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="All that is there.")]
trash = typer.Typer(no_args_is_help=True, help="What was deleted: list it, have it back, give it up.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    trash.command("list")(list_trash)
    trash.command()(restore)
    trash.command()(empty)
    app.add_typer(trash, name="trash")


def list_trash(collection: Collection = None, data: Data = None, json: Json = False) -> None:
    """List deleted collections and how many deleted images the others have; with -c, these images."""

    with opened(data, collection) as services:
        if collection is not None:
            _list_images(services, collection, json=json)
        else:
            _list_collections(services, json=json)


def restore(
    what: What = None,
    collection: Collection = None,
    all: Everything = False,
    new_name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Another name for a deleted collection.")
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Bring deleted images or collections back as they were, without the model."""
    from sightline.errors import InputError
    from sightline.store.work_records import ItemError

    _check_what(what, all=all)
    if new_name is not None and (collection is not None or len(what or ()) != 1):
        raise InputError("Give --as with the name of one deleted collection, and without --collection.")
    with opened(data, collection) as services:
        if collection is not None:
            number = services.catalog.collection(collection).id
            done = services.catalog.restore_images(number, None if all else what)
            _told_images(collection, done, json=json)
            return
        if all:
            deleted = [one.id for one in services.catalog.trashed_collections()]
            back, refused = _restore_collections(services, deleted)
            images, others = _restore_all_images(services)
            _told_collections(back, images, refused + others, json=json)
            return
        names, refused = what or [], list[ItemError]()
        if len(names) == 1:
            back = [services.catalog.restore_collection(names[0], new_name).name]
        else:
            back, refused = _restore_collections(services, names)
    _told_collections(back, 0, refused, json=json)


def empty(
    what: What = None,
    collection: Collection = None,
    all: Everything = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Leave no trace, now; else files go after their time of grace.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Give deleted images or collections up for good."""
    from sightline.cli.output import print_json
    from sightline.console import answers

    _check_what(what, all=all)
    with opened(data, collection) as services:
        if collection is None:
            _check_deleted(services, what or [])
        _confirm(_described(services, what, collection), yes=yes)
        if collection is not None:
            emptied = {"collections": 0, "images": _empty(services, collection, what, purge=purge)}
        else:
            emptied = _empty_collections(services, what, purge=purge)
    if json:
        print_json({**emptied, "purged": purge})
    else:
        answers().print(f"{emptied['images']} images and {emptied['collections']} collections given up")


# --- the work ---------------------------------------------------------------------------------------------


def _check_what(what: list[str] | None, *, all: bool) -> None:
    from sightline.errors import InputError

    if bool(what) == all:
        raise InputError("Say what of the trash: ids of images with --collection, names without, or --all.")


def _check_deleted(services: Installation, names: list[str]) -> None:
    """NotFoundError for names that no deleted collection has, before any other is given up."""
    from sightline.errors import NotFoundError

    deleted = services.catalog.trashed_collections()
    known = {name for one in deleted for name in (one.id, one.name)}
    if unknown := [repr(name) for name in names if name not in known]:
        raise NotFoundError(f"There is no deleted collection {', '.join(unknown)} in the trash.")


def _restore_collections(services: Installation, names: list[str]) -> tuple[list[str], list[ItemError]]:
    """The names that came back (of several with one name the newest), and why others did not."""
    from sightline.errors import ConflictError, NotFoundError
    from sightline.store.work_records import ItemError

    back, refused = [], []
    for name in names:
        try:
            back.append(services.catalog.restore_collection(name).name)
        except (NotFoundError, ConflictError) as error:
            reason = "not_found" if isinstance(error, NotFoundError) else "name_taken"
            refused.append(ItemError(name, reason, str(error)))
    return back, refused


def _restore_all_images(services: Installation) -> tuple[int, list[ItemError]]:
    count, refused = 0, []
    for one in services.catalog.collections():
        done = services.catalog.restore_images(one.id)
        count += len(done.restored)
        refused += done.refused
    return count, refused


def _empty(services: Installation, collection: str, ids: list[str] | None, *, purge: bool) -> int:
    wanted = ids or None
    if purge:
        return len(services.purging.trash(collection, wanted))
    return len(services.catalog.empty_trash(services.catalog.collection(collection).id, wanted))


def _empty_collections(services: Installation, names: list[str] | None, *, purge: bool) -> dict[str, int]:
    """Those with these names; without, everything in the trash, images of other collections too."""
    catalog = services.catalog
    gone = names or [one.id for one in catalog.trashed_collections()]
    for name in gone:
        if purge:
            services.purging.trashed_collection(name)
        else:
            catalog.empty_collection(name)
    rest = [] if names else catalog.collections()
    images = sum(_empty(services, one.name, None, purge=purge) for one in rest)
    return {"collections": len(gone), "images": images}


def _confirm(what: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere ``--yes`` has to say it."""
    from sightline.errors import InputError

    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(
            "What is given up cannot be had back: say --yes, for there is no terminal to ask on."
        )
    typer.confirm(f"Give up {what} for good?", abort=True, err=True)


def _described(services: Installation, what: list[str] | None, collection: str | None) -> str:
    if collection is not None:
        count = len(what) if what else services.catalog.collection_counts(collection)["trashed"]
        return f"{count} deleted images of {collection}"
    return ", ".join(f"the deleted collection {name}" for name in what) if what else "everything in the trash"


# --- the answers ------------------------------------------------------------------------------------------


def _deleted_images(services: Installation, collection: str) -> Iterator[Image]:
    cursor: str | None = None
    while True:
        page = services.catalog.images(collection, cursor, 1000, state="trashed")
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _list_images(services: Installation, collection: str, *, json: bool) -> None:
    from sightline.cli.output import print_json
    from sightline.cli.tables import Column, print_table

    images = sorted(_deleted_images(services, collection), key=lambda one: (-(one.trashed_at or 0), one.key))
    rows = [
        {"id": one.image_id, "trashed_at": _moment(one.trashed_at), "caption": one.caption, "uri": one.uri}
        for one in images
    ]
    if json:
        print_json({"collection": collection, "images": rows})
    else:
        cells = [[str(row["id"]), str(row["trashed_at"]), str(row["caption"] or "")] for row in rows]
        print_table((Column("id", "name"), "deleted", Column("caption", "text")), cells)


def _list_collections(services: Installation, *, json: bool) -> None:
    from sightline.cli.output import print_json
    from sightline.cli.tables import print_table

    catalog = services.catalog
    deleted = [_row(one) for one in catalog.trashed_collections()]
    counts = [(one.collection.name, one.counts["trashed"]) for one in catalog.overview()]
    held = [{"collection": name, "images": count} for name, count in counts if count]
    if json:
        print_json({"collections": deleted, "images": held})
        return
    names = ("name", "id", "trashed_at", "images")
    if deleted:
        print_table(
            ("collection", "id", "deleted", "images"), [[str(row[key]) for key in names] for row in deleted]
        )
    if held:
        print_table(
            ("deleted images of", "number"), [[str(row["collection"]), str(row["images"])] for row in held]
        )


def _row(one: TrashedCollection) -> dict[str, Any]:
    return {**asdict(one), "trashed_at": _moment(one.trashed_at)}


def _moment(seconds: float | None) -> str | None:
    from sightline.store.moments import moment_at

    return None if seconds is None else moment_at(seconds).isoformat(timespec="seconds")


def _told_images(collection: str, done: Restored, *, json: bool) -> None:
    from sightline.cli.output import CONFLICT, NOT_FOUND, PARTLY_FAILED, print_failures, print_json
    from sightline.console import answers

    refused = [asdict(one) for one in done.refused]
    if json:
        told = {"collection": collection, "restored": len(done.restored), "ids": done.restored}
        print_json({**told, "refused": refused})
    else:
        answers().print(f"{len(done.restored)} restored" + (f", {len(refused)} not" if refused else ""))
        print_failures(refused)
    if not refused:
        return
    missing = all(one["reason"] == "not_found" for one in refused)
    raise typer.Exit(PARTLY_FAILED if done.restored else NOT_FOUND if missing else CONFLICT)


def _told_collections(names: list[str], images: int, refused: list[ItemError], *, json: bool) -> None:
    from sightline.cli.output import PARTLY_FAILED, print_failures, print_json
    from sightline.console import answers

    rows = [asdict(one) for one in refused]
    if json:
        print_json({"collections": names, "images": images, "refused": rows})
    else:
        answers().print("".join(f"{name} restored\n" for name in names) + f"{images} images restored")
        print_failures(rows)
    if refused:
        raise typer.Exit(PARTLY_FAILED)
