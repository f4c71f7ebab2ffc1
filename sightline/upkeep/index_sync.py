"""A remote index made to agree with the catalog again: SQL is the truth, what a server holds is derived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError
from sightline.store.durable import FileMissingError
from sightline.store.index import RemoteIndexBackend, SyncedIndex

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Generation, Snapshot
    from sightline.store.segments import SegmentReader


@dataclass(frozen=True)
class Synced:
    """What became of the generation of one collection.

    ``kind`` is None, and ``generation`` 0, when there is no index yet. ``done`` is what the server needed;
    None when the index lies on none (``remote`` is False), or when the file here does not say what there
    should be. ``rebuilt``: then, or because images that it names are in no segment any more, it was built
    anew.
    """

    collection: str
    kind: str | None = None
    generation: int = 0
    remote: bool = False
    done: SyncedIndex | None = None
    rebuilt: bool = False

    @property
    def agrees(self) -> bool:
        """Whether the server, if there is one, holds now what the catalog says."""
        return not self.remote or self.rebuilt or (self.done is not None and not self.done.lacking)


class IndexSync:
    """Compares keys, inserts and deletes. ``refold`` builds a collection's generation anew."""

    def __init__(
        self, catalog: Catalog, segments: SegmentReader, indexes: Indexes, refold: Callable[[int], bool]
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._indexes = indexes
        self._refold = refold

    def run(self, collection: str) -> Synced:
        """Twice is once. An index in files is left alone: `sightline doctor --repair` looks after it.

        Raises:
            NotFoundError: no such collection, or this installation does not know the kind of its index.
            IndexUnavailableError: the server is away.
        """
        snapshot = self._catalog.snapshot(collection)
        serving = snapshot.generation
        if serving is None:
            return Synced(collection)
        backend = self._indexes.of(serving.kind)
        if not isinstance(backend, RemoteIndexBackend):
            return Synced(collection, serving.kind, serving.number)
        done = self._synced(backend, serving, snapshot)
        rebuilt = (done is None or done.lacking > 0) and self._refold(snapshot.collection.id)
        now = self._catalog.snapshot(collection).generation if rebuilt else serving
        number = serving.number if now is None else now.number
        return Synced(collection, serving.kind, number, True, done, rebuilt)

    def _synced(
        self, backend: RemoteIndexBackend, serving: Generation, snapshot: Snapshot
    ) -> SyncedIndex | None:
        """None when the file here does not say any more what there should be."""
        try:
            return backend.sync(serving.file, self._segments, snapshot.segments)
        except (FileMissingError, CorruptionError):
            return None
