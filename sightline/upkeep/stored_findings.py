"""What `StoredBytes` and the catalog say of pictures, as findings."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sightline.upkeep.findings import NAMED, Finding, Status
from sightline.upkeep.stored_bytes import Looked

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.types import OnProgress
    from sightline.upkeep.stored_bytes import Damage, Depth, StoredBytes, What

_HELP = {
    "original": "`sightline doctor --repair` fetches them again where it can; else add these pictures again",
    "thumbnail": "`sightline doctor --repair` makes them again",
    "reference": "bring them back, or index their source again",
}


def bytes_findings(stored: StoredBytes, depth: Depth, show: OnProgress | None) -> list[Finding]:
    """One finding for all originals in our store, one for thumbnails, one for originals elsewhere."""
    looked = Looked()
    damages: dict[What, list[Damage]] = defaultdict(list)
    for damage in stored.damages(depth, looked, show):
        damages[damage.what].append(damage)
    read = "found, not read" if depth == "quick" else "what was stored"
    elsewhere = "what was registered" if depth == "all" else "found, not read"
    found = [
        _finding("originals", looked.originals, damages["original"], f"stored originals are {read}"),
        _finding("thumbnails", looked.thumbnails, damages["thumbnail"], f"thumbnails are {read}"),
    ]
    if looked.references:
        told = f"originals that lie elsewhere are {elsewhere}"
        found.append(_finding("referenced originals", looked.references, damages["reference"], told))
    return found


def lost_findings(catalog: Catalog) -> list[Finding]:
    """Images that a repair could not make again."""
    names: list[str] = []
    for collection in catalog.collections(trashed=True):
        after = 0
        while images := catalog.lost_images(collection.id, after):
            after = images[-1].key
            names += [f"{collection.name}/{image.image_id}" for image in images]
    if not names:
        return []
    detail = f"{len(names)} images cannot be found until their originals are there again; repair again then"
    return [Finding("lost images", "problem", f"{detail}: {_listed(names)}", tuple(names))]


def _finding(subject: str, looked: int, damages: list[Damage], fine: str) -> Finding:
    if not damages:
        return Finding(subject, "ok", f"{looked} {fine}")
    names = tuple(f"{damage.holders[0].name} ({damage.sha256[:12]}): {damage.detail}" for damage in damages)
    status: Status = "note" if damages[0].what == "reference" else "problem"
    detail = f"{len(damages)} of {looked} are not; {_HELP[damages[0].what]}: {_listed(names)}"
    return Finding(subject, status, detail, names)


def _listed(names: list[str] | tuple[str, ...]) -> str:
    more = f"; … and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return "; ".join(names[:NAMED]) + more
