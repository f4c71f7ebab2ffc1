"""What an index job would do, without doing it: nothing is read but names, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.errors import SourceError
from sightline.indexer.items import SKIPPED, SourceProblem
from sightline.indexer.plan import Plan, PruneLimit, moved_address
from sightline.indexer.pruning import Listing, objection
from sightline.indexer.sources.listing import address_of, iter_source
from sightline.store.records import UNKNOWN
from sightline.store.work_records import Pruning

if TYPE_CHECKING:
    from sightline.indexer.parts import IndexerParts

PAGE = 1000


@dataclass(frozen=True)
class Preview:
    """Of one source: how much it lists, how many of these ids are new, and which images it no longer has.

    ``gone`` are what ``prune`` would move to the trash; ``refused`` says why it would not.
    """

    source: str
    listed: int
    new: int
    images: int
    gone: tuple[str, ...]
    refused: str | None


def preview(parts: IndexerParts, collection: str, plan: Plan) -> list[Preview]:
    """One for each source, in their order. Raises NotFoundError: there is no such collection."""
    limit = PruneLimit.parse(plan.prune_limit)
    names: set[int] = set()
    wanted = {address_of(source) for source in plan.sources}
    moved = None if plan.moved_from is None else moved_address(plan.moved_from)
    sources: dict[str, list[str]] = {}
    for image_id, source in _live(parts, collection):
        names.add(hash(image_id))
        if source in wanted or source == moved:
            sources.setdefault(source, []).append(image_id)
    found = []
    for source in dict.fromkeys(plan.sources):
        listing = Listing(address_of(source))
        met = _met(parts, source, plan, listing)
        mine = sources.get(listing.source, [])
        if moved is not None and moved != listing.source:
            mine = mine + sources.get(moved, [])
        gone = tuple(sorted(image_id for image_id in mine if hash(image_id) not in met))
        refused = None
        if gone or not listing.whole:
            pruning = Pruning(listing.source, len(mine), len(gone), gone[:1])
            refused = objection(listing, pruning, limit)
        new = sum(name not in names for name in met)
        found.append(Preview(listing.source, len(met), new, len(mine), gone, refused))
    return found


def _met(parts: IndexerParts, source: str, plan: Plan, listing: Listing) -> set[int]:
    """Hashes of the ids that a source lists: names alone would fill the memory."""
    met = set()
    try:
        own, fetch = parts.own_folders, parts.fetch
        for item in iter_source(source, max_bytes=parts.max_bytes, allow_remote=True, own=own, fetch=fetch):
            if isinstance(item, SourceProblem) and item.hides_more:
                listing.whole = False
            if isinstance(item, SourceProblem) and item.reason == SKIPPED:
                continue
            listing.met += 1
            met.add(hash(plan.id_prefix + item.image_id))
    except SourceError:
        listing.whole = False
    return met


def _live(parts: IndexerParts, collection: str) -> Iterator[tuple[str, str]]:
    """Ids of all live images with the addresses of their sources; what came before these were kept: none."""
    cursor: str | None = None
    while True:
        page = parts.catalog.images(collection, cursor, PAGE)
        yield from ((image.image_id, image.source or UNKNOWN) for image in page.items)
        cursor = page.next_cursor
        if cursor is None:
            return
