"""What filters fit, kept for the next query: once found, a filter costs what has changed since.

An answer is of one version of its collection, and what is kept says of which it is. A new version asks the
catalog only for images that changed after the version before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from sightline.retriever.positions import Positions
    from sightline.store.conditions import Filter
    from sightline.store.filtered import Filtered
    from sightline.types import Keys, Mask

MAX_BYTES: Final = 256 << 20
"""What is kept of all filters together, keys and masks."""
MAX_FILTERS: Final = 1_000
_NO_KEYS: Final = 1_024
"""Bytes of a filter that fits nothing: it is remembered too."""


class FilterReader(Protocol):
    """What is asked of the catalog (`sightline.store.catalog.Catalog`)."""

    def filtered(self, collection_id: int, filter: Filter, since: int | None = None) -> Filtered: ...


class _Chosen:
    """Sorted keys, and where they are in the index that was searched last."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._mask: tuple[Positions, Mask] | None = None

    @property
    def nbytes(self) -> int:
        mask = self._mask
        return _NO_KEYS + self.keys.nbytes + (0 if mask is None else mask[1].nbytes)

    def mask(self, positions: Positions) -> Mask:
        """``[N]``: which images of the index they are."""
        kept = self._mask
        if kept is None or kept[0] is not positions:
            kept = self._mask = positions, positions.mask(self.keys)
        return kept[1]


class FilteredKeys:
    """What a filter fits at ``version``. Images in the trash may be among them: the caller knows the live.

    Immutable, thread-safe.
    """

    def __init__(self, version: int, chosen: _Chosen) -> None:
        self.version = version
        self._chosen = chosen

    @property
    def keys(self) -> Keys:
        """Sorted."""
        return self._chosen.keys

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return self._chosen.nbytes

    def mask(self, positions: Positions) -> Mask:
        """``[N]``: which images of an index they are; not to be written to."""
        return self._chosen.mask(positions)

    def after(self, told: Filtered) -> FilteredKeys:
        """The same at a later version, given what changed. Where nothing did, the mask stays too."""
        keys = told.after(self.keys)
        chosen = self._chosen if np.array_equal(keys, self.keys) else _Chosen(keys)
        return FilteredKeys(told.version, chosen)


class FilterCache:
    """The filters that were asked last, up to ``max_bytes`` of them. Thread-safe."""

    def __init__(self, catalog: FilterReader, max_bytes: int = MAX_BYTES) -> None:
        self._catalog = catalog
        self._max_bytes = max_bytes
        self._kept: OrderedDict[tuple[int, Filter], FilteredKeys] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Memory of all that is kept."""
        with self._lock:
            return sum(one.nbytes for one in self._kept.values())

    def get(self, collection_id: int, filter: Filter, version: int) -> FilteredKeys:
        """What the filter fits at this version, or at a later one when the collection has it by now.

        Raises:
            NotFoundError: the collection is gone.
        """
        with self._lock:
            known = self._kept.get((collection_id, filter))
        if known is not None and known.version == version:
            found = known
        else:
            told = self._catalog.filtered(collection_id, filter, None if known is None else known.version)
            empty = FilteredKeys(told.version, _Chosen(told.fitting))
            found = empty if known is None else known.after(told)
        self._keep((collection_id, filter), found)
        return found

    def _keep(self, name: tuple[int, Filter], found: FilteredKeys) -> None:
        with self._lock:
            known = self._kept.get(name)
            if known is None or known.version < found.version:
                self._kept[name] = found
                self._make_room()
            self._kept.move_to_end(name)

    def _make_room(self) -> None:
        """Sizes are added up anew: masks come after their keys."""
        size = sum(one.nbytes for one in self._kept.values())
        while len(self._kept) > 1 and (size > self._max_bytes or len(self._kept) > MAX_FILTERS):
            size -= self._kept.popitem(last=False)[1].nbytes
