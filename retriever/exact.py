"""What makes a retriever exact whatever the index: it is not told of generations that may miss images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sightline.retriever.retriever import CatalogReader
    from sightline.store.conditions import Filter
    from sightline.store.filtered import Filtered
    from sightline.store.index import Indexes
    from sightline.store.records import Snapshot

SCAN_BYTES: Final = 64 << 20
"""Tokens that such a retriever keeps between queries: it reads segment after segment, and comes seldom."""


class ExactCatalog:
    """A catalog in which collections have no generation but exact ones: all else is scanned (`Retriever`)."""

    def __init__(self, catalog: CatalogReader, indexes: Indexes) -> None:
        self._catalog = catalog
        self._indexes = indexes

    def version(self, collection: str) -> tuple[int, int]:
        """As the catalog's."""
        return self._catalog.version(collection)

    def snapshot(self, collection: str) -> Snapshot:
        """As the catalog's; an approximate generation, or one of an unknown kind, is not in it."""
        snapshot = self._catalog.snapshot(collection)
        serving = snapshot.generation
        backend = None if serving is None else self._indexes.backends.get(serving.kind)
        if serving is None or (backend is not None and backend.exact):
            return snapshot
        return replace(snapshot, generation=None, covered=[], uncovered=snapshot.segments)

    def filtered(self, collection_id: int, filter: Filter, since: int | None = None) -> Filtered:
        """As the catalog's."""
        return self._catalog.filtered(collection_id, filter, since)
