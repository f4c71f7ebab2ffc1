"""To the trash with what a source no longer has: each by itself, never unasked beyond a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sightline.indexer.items import Listed, SourceItem
from sightline.indexer.plan import PruneLimit
from sightline.store.work_records import Pruning

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog

NOT_PRUNED = "not-pruned"
"""The reason of a source that nothing was pruned of."""

PARTS = {
    "WebDataset": "shard",
    "img2dataset": "shard",
    "Parquet": "file",
    "Hugging Face dataset": "split",
    "Google Takeout": "album",
}
"""What a source of each kind consists of."""

Confirm = Callable[[Pruning], bool]
"""Asks somebody whether so much may go."""


@dataclass
class Listing:
    """How the listing of one source went: what it met, and whether it met everything that is there."""

    source: str
    met: int = 0
    whole: bool = True
    kinds: dict[str, set[str]] = field(default_factory=dict)
    """Kind of source → the parts of it in which pictures were found."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Kind → how many files of it were met that are no pictures."""

    def note(self, listed: Listed) -> None:
        """Something that was met, with what it was found in."""
        if isinstance(listed, SourceItem) and listed.origin is not None:
            self.kinds.setdefault(listed.origin.kind, set()).add(listed.origin.part)

    def found(self) -> list[str]:
        """What kinds of sources these were: ``WebDataset, 3 shards``."""
        return [_counted(kind, len(parts - {""})) for kind, parts in sorted(self.kinds.items())]

    def skip(self, kind: str) -> None:
        """One of that kind; folders that are passed over have none."""
        if kind:
            self.skipped[kind] = self.skipped.get(kind, 0) + 1


def _counted(kind: str, parts: int) -> str:
    unit = PARTS.get(kind, "part")
    return f"{kind}, {parts} {unit if parts == 1 else unit + 's'}" if parts else kind


@dataclass(frozen=True)
class Refusal:
    """Why nothing of a source was pruned."""

    source: str
    detail: str


def prune_sources(
    catalog: Catalog,
    job_id: str,
    listings: Iterable[Listing],
    limit: PruneLimit,
    confirm: Confirm | None = None,
    names: Sequence[str] = (),
) -> list[Refusal]:
    """Moves what was not met of every source that was listed whole to the trash; why not, of the others.

    With ``names`` only these, and what lies below them, were to be met.
    """
    refused = []
    for listing in listings:
        found = catalog.prunable(job_id, listing.source, names)
        why_not = (
            None if not found.gone and listing.whole else objection(listing, found, limit, some=bool(names))
        )
        may = why_not is None or (listing.whole and confirm is not None and confirm(found))
        if not may and why_not is not None:
            refused.append(Refusal(listing.source, why_not))
        elif found.gone:
            most = found.gone if why_not is not None else limit.most(found.images)
            catalog.prune(job_id, listing.source, most, names)
    return refused


def objection(listing: Listing, found: Pruning, limit: PruneLimit, *, some: bool = False) -> str | None:
    """Why this must not be pruned unasked, in a sentence; None when it may be. ``some``: of a few names."""
    if not listing.whole:
        return f"Not everything of {listing.source} could be read, so nothing of it was pruned."
    what = f"{found.gone:,} of the {found.images:,} pictures of {listing.source}"
    if not (listing.met or some or limit.everything):
        return f"The source is empty, and {what} would go: none was pruned; --prune-limit 100% prunes them."
    if found.gone > limit.most(found.images):
        return (
            f"{what} are not there any more, more than may go unasked, so nothing of it was pruned; "
            f"--prune-limit {found.gone} prunes them."
        )
    return None
