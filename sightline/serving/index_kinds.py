"""Which kind of index a collection is to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.errors import InputError
from sightline.store.records import AUTO, EXACT

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Collection


class IndexKinds:
    """What may be asked for. The builder builds it, beside the index that serves until then."""

    def __init__(self, catalog: Catalog, indexes: Indexes) -> None:
        self._catalog = catalog
        self._indexes = indexes

    @property
    def known(self) -> tuple[str, ...]:
        """``auto``, ``exact``, and the kinds of this installation."""
        return (AUTO, EXACT, *sorted(self._indexes.backends))

    def ask(self, name: str, kind: str | None) -> Collection:
        """From now on the collection is to have this kind (None: what the installation says).

        Raises:
            NotFoundError: no such collection.
            InputError: no such kind.
        """
        collection = self._catalog.collection(name)
        if kind is not None and kind not in self.known:
            raise InputError(
                f"There is no index of kind {kind!r} here; it is one of {', '.join(self.known)}."
            )
        self._catalog.set_index_kind(collection.id, kind)
        return self._catalog.collection(name)
