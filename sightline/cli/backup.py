"""``sightline backup`` and ``sightline restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli.opening import opened
from sightline.cli.options import Data, Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.upkeep.backups.backup import BackedUp
    from sightline.upkeep.backups.restoring import Restored

MOST = 20
"""Names that are printed; the JSON document has all."""

Where = Annotated[str, typer.Argument(metavar="DIR_OR_URL", help="A folder, or any fsspec URL.")]
PointName = Annotated[
    str | None, typer.Option("--point", metavar="NAME", help="Not the newest.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


def backup(
    where: Where,
    with_originals: Annotated[
        bool, typer.Option("--with-originals", help="Also the originals that lie outside of the data folder.")
    ] = False,
    keep: Annotated[int, typer.Option("--keep", min=1, metavar="N", help="Points to keep.")] = 7,
    verify: Annotated[
        bool, typer.Option("--verify", help="Copy nothing: read a backup in full and compare it.")
    ] = False,
    point: PointName = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Copy the installation, while it works, as one consistent point; only what is new is copied."""
    from sightline.cli.output import OK, PARTLY_FAILED, print_json, progress
    from sightline.store.places import open_place
    from sightline.upkeep.backups.backup import Wish

    if verify:
        _verify(where, point, as_json=json)
        return
    place = open_place(where)
    with opened(data) as services, progress() as show:
        done = services.backup.run(place, Wish(with_originals, keep), show)
    if json:
        print_json(done)
    else:
        _print_backup(done)
    raise typer.Exit(PARTLY_FAILED if done.point.missing else OK)


def restore(
    where: Where,
    point: PointName = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Into an installation that is not empty, in its place.")
    ] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Make an installation from a backup, in an empty place."""
    from sightline.cli.output import OK, PARTLY_FAILED, print_json, progress
    from sightline.settings import load_settings
    from sightline.store.places import open_place
    from sightline.wiring import open_installation

    with open_installation(load_settings(data)) as services, progress() as show:
        done = services.restore.run(open_place(where), point, replace=replace, show=show)
    if json:
        print_json(done)
    else:
        _print_restore(done)
    raise typer.Exit(PARTLY_FAILED if done.missing else OK)


def _verify(where: str, point: str | None, *, as_json: bool) -> None:
    from sightline.cli.output import OK, PARTLY_FAILED, print_json, progress
    from sightline.console import answers
    from sightline.store.places import open_place
    from sightline.upkeep.backups.checking import check

    with progress() as show:
        found = check(open_place(where), point, show)
    if as_json:
        print_json(found)
    else:
        console = answers()
        outcome = f"{len(found.problems)} problems" if found.problems else "all are what was written"
        console.print(f"{found.point.name}: {found.files} files; {outcome}", markup=False, soft_wrap=True)
        _list(found.problems)
    raise typer.Exit(PARTLY_FAILED if found.problems else OK)


def _print_backup(done: BackedUp) -> None:
    from sightline.console import answers

    console, point = answers(), done.point
    console.print(
        f"{point.name}: {point.collections} collections, {point.segments} segments, "
        f"{point.originals} originals, {point.thumbnails} thumbnails; {done.files} files of "
        f"{done.bytes / 1e6:.1f} MB were new",
        soft_wrap=True,
    )
    if point.references and not point.with_originals:
        console.print(
            f"{point.references} originals lie outside of the store and are not in it (--with-originals).",
            soft_wrap=True,
        )
    if point.missing:
        console.print(
            f"{len(point.missing)} files are lost or damaged here (`sightline doctor --repair`):",
            soft_wrap=True,
        )
        _list(point.missing)


def _print_restore(done: Restored) -> None:
    from sightline.console import answers

    console, point = answers(), done.point
    console.print(
        f"Restored {point.name}: {point.collections} collections, {done.segments} segments, "
        f"{done.originals} originals, {done.thumbnails} thumbnails",
        soft_wrap=True,
    )
    if done.taken_in:
        console.print(f"{done.taken_in} originals that lay elsewhere are in the store now.", soft_wrap=True)
    if done.missing:
        text = "files are not in the backup, or not whole (`sightline doctor --repair` makes what it can):"
        console.print(f"{len(done.missing)} {text}", soft_wrap=True)
        _list(done.missing)


def _list(names: Sequence[str]) -> None:
    from sightline.console import answers

    for name in names[:MOST]:
        answers().print(f"  {name}", markup=False, soft_wrap=True)
    if len(names) > MOST:
        answers().print(f"  … and {len(names) - MOST} more; --json has all")
