"""Which keys are among others: masks over the images of an index or a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.store.filtered import in_sorted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.types import Keys, Mask


__all__ = ["Positions", "both", "in_sorted", "without"]


class Positions:
    """Where keys are among the keys ``[N]`` of an index. Immutable."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        # Builders write them in order, mostly: looking through an order costs five times as much.
        sorted_already = bool((keys[1:] > keys[:-1]).all())
        self._order = None if sorted_already else np.argsort(keys, kind="stable")

    def of(self, keys: Keys) -> NDArray[np.intp]:
        """The positions of those of ``keys`` that are there."""
        if len(self._keys) == 0 or len(keys) == 0:
            return np.empty(0, np.intp)
        places = np.searchsorted(self._keys, keys, sorter=self._order)
        places = np.minimum(places, len(self._keys) - 1)
        positions = places if self._order is None else self._order[places]
        held: NDArray[np.intp] = positions[self._keys[positions] == keys]
        return held

    def mask(self, keys: Keys) -> Mask:
        """``[N]``: whether each image is one of ``keys``."""
        mask = np.zeros(len(self._keys), np.bool_)
        mask[self.of(keys)] = True
        return mask


def without(hidden: Mask) -> Mask | None:
    """All but the hidden ones."""
    return ~hidden if hidden.any() else None


def both(first: Mask | None, second: Mask | None) -> Mask | None:
    """What both allow."""
    if first is None or second is None:
        return second if first is None else first
    return first & second
