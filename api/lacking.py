"""Which collections' answers lack something, files being lost or damaged, at a cost that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final

from sightline.errors import NotFoundError

if TYPE_CHECKING:
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection, Snapshot

AT_ONCE: Final = 20
"""Collections that one call looks at: reading what a collection consists of costs a few statements each."""


class Lacking:
    """Asked with all collections; looks at some of them each time, in turns, and remembers the others.

    ``degraded`` says what searches of one snapshot have to do without. Thread-safe.
    """

    def __init__(self, catalog: Catalog, degraded: Callable[[Snapshot], tuple[str, ...]]) -> None:
        self._catalog = catalog
        self._degraded = degraded
        self._lock = Lock()
        self._said: dict[int, tuple[str, ...]] = {}
        """By the collection's number; the one that was looked at longest ago stands first."""

    def __call__(self, collections: Sequence[Collection]) -> dict[str, tuple[str, ...]]:
        """The sentences of every collection that lacks something, as far as is known. Opens no file."""
        with self._lock:
            here = {one.id: one for one in collections}
            order = [number for number in here if number not in self._said]
            order += [number for number in self._said if number in here]
        looked = {number: self._look(here[number]) for number in order[:AT_ONCE]}
        with self._lock:
            kept = {number: said for number, said in self._said.items() if number in here}
            self._said = {number: said for number, said in kept.items() if number not in looked} | looked
            return {here[number].name: said for number, said in self._said.items() if said}

    def _look(self, collection: Collection) -> tuple[str, ...]:
        try:
            return self._degraded(self._catalog.snapshot(collection.name))
        except NotFoundError:  # deleted meanwhile
            return ()
