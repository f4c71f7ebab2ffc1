"""What ``index`` says and asks before something is pruned."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.indexer.previewing import Preview
    from sightline.indexer.pruning import Confirm
    from sightline.store.work_records import Pruning

IDS_LISTED = 20
IDS_IN_JSON = 1000


def confirmation() -> Confirm | None:
    """Asks on a terminal; None elsewhere: nobody is there to be asked."""
    return _ask if sys.stdin.isatty() and sys.stderr.isatty() else None


def _ask(found: Pruning) -> bool:
    import typer

    from sightline.console import remarks

    console = remarks()
    console.print(
        f"{found.gone:,} of the {found.images:,} pictures of {found.source} are not there any more, such as:",
        markup=False,
        soft_wrap=True,
    )
    for image_id in found.examples:
        console.print(f"  {image_id}", markup=False, soft_wrap=True)
    return typer.confirm("Move them to the trash?", default=False, err=True)


def show_preview(collection: str, previews: Sequence[Preview], *, prune: bool, json: bool) -> None:
    """The answer of ``index --dry-run``."""
    from sightline.cli.output import print_json
    from sightline.console import answers

    if json:
        shown = ({"gone": one.gone[:IDS_IN_JSON], "gone_count": len(one.gone)} for one in previews)
        rows = [asdict(one) | first for one, first in zip(previews, shown, strict=True)]
        print_json({"collection": collection, "dry_run": True, "prune": prune, "sources": rows})
        return
    console = answers()
    for one in previews:
        pruned = prune and one.refused is None
        what = "would be moved to the trash" if pruned else "not there any more"
        counts = f"{one.listed} listed, {one.new} of them new; {len(one.gone)} of {one.images} {what}"
        console.print(f"{one.source}: {counts}", markup=False, soft_wrap=True)
        for image_id in one.gone[:IDS_LISTED]:
            console.print(f"  {image_id}", markup=False, soft_wrap=True)
        if len(one.gone) > IDS_LISTED:
            console.print(f"  … and {len(one.gone) - IDS_LISTED} more")
        if prune and one.refused is not None:
            console.print(f"  {one.refused}", markup=False, soft_wrap=True)
