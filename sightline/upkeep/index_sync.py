"""A remote index made to agree with the catalog again: SQL is the truth, what a server holds is derived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError, InputError, NotFoundError
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

    ``done`` is what the server needed; None when the generation was ``rebuilt``, because its file here was
    missing or damaged, or because images that it names are in no segment any more.
    """

    collection: str
    generation: int
    done: SyncedIndex | None
    rebuilt: bool

    @property
    def agrees(self) -> bool:
        """Whether the server holds now what the catalog says."""
        return self.rebuilt or (self.done is not None and not self.done.lacking)


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
        """Twice is once.

        Raises:
            NotFoundError: no such collection, or it has no index yet.
            InputError: its index lies in files, which `sightline doctor --repair` looks after.
            IndexUnavailableError: the server is away.
        """
        snapshot = self._catalog.snapshot(collection)
        serving = snapshot.generation
        if serving is None:
            raise NotFoundError(f"The collection {collection!r} has no index yet; the builder makes one.")
        backend = self._indexes.of(serving.kind)
        if not isinstance(backend, RemoteIndexBackend):
            raise InputError(
                f"The index of {collection!r} is of the kind {serving.kind!r}, which lies on no server: "
                "`sightline doctor --repair` looks after files."
            )
        done = self._synced(backend, serving, snapshot)
        rebuilt = (done is None or done.lacking > 0) and self._refold(snapshot.collection.id)
        now = self._catalog.snapshot(collection).generation if rebuilt else serving
        return Synced(collection, serving.number if now is None else now.number, done, rebuilt)

    def _synced(
        self, backend: RemoteIndexBackend, serving: Generation, snapshot: Snapshot
    ) -> SyncedIndex | None:
        """None when the file here does not say any more what there should be."""
        try:
            return backend.sync(serving.file, self._segments, snapshot.segments)
        except (FileMissingError, CorruptionError):
            return None
