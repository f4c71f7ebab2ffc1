"""``sightline duplicates``: which images are the same picture. It deletes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.opening import opened
from sightline.cli.options import CollectionName, Data, Json

if TYPE_CHECKING:
    from sightline.searching.duplicates import DuplicatePage


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(duplicates)


def duplicates(
    collection: CollectionName,
    limit: Annotated[
        int | None, typer.Option("-k", "--limit", min=1, max=1000, help="How many groups; else all.")
    ] = None,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where an answer with --limit ended.")
    ] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Find images with the same bytes, or the same picture in different files; deletes nothing."""
    from sightline.cli.output import print_json, progress

    with opened(data, collection) as services:
        waiting = services.catalog.count_unhashed(services.catalog.collection(collection).id)
        with progress() as show:
            page = services.duplicates.find(
                collection, cursor, limit, progress=lambda done: show("comparing", done, waiting)
            )
    if json:
        print_json({"collection": collection, **_plain(page)})
    else:
        _print(page)


def _plain(page: DuplicatePage) -> dict[str, Any]:
    """As over HTTP, without addresses."""
    groups = [
        {
            "kind": group.kind,
            "images": [
                {
                    "id": one.id, "width": one.width, "height": one.height, "bytes": one.bytes,
                    "sha256": one.sha256, "largest": one is group.largest,
                }
                for one in group.images
            ],
        }
        for group in page.groups
    ]  # fmt: skip
    return {
        "groups": groups,
        "total": page.total,
        "next_cursor": page.next_cursor,
        "waiting": page.waiting,
        "degraded": list(page.degraded),
    }


def _print(page: DuplicatePage) -> None:
    from sightline.cli.tables import Column, print_table
    from sightline.console import answers, remarks

    rows = [
        [str(number), group.kind, one.id, f"{one.width} × {one.height}", f"{one.bytes:,}",
         "" if place else "largest"]
        for number, group in enumerate(page.groups, 1)
        for place, one in enumerate(group.images)
    ]  # fmt: skip
    if rows:
        print_table(("group", "kind", Column("id", "name"), "size", "bytes", ""), rows)
    else:
        answers().print("No duplicates found.")
    if page.next_cursor is not None:
        remarks().print(
            f"{len(page.groups)} of {page.total:,} groups; --cursor {page.next_cursor} goes on.", markup=False
        )
    for sentence in page.degraded:
        remarks().print(f"[yellow]{sentence}[/]")
    if page.waiting and not page.degraded:
        remarks().print(f"[yellow]{page.waiting:,} images were not compared yet.[/]")
