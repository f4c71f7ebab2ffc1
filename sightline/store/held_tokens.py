"""What an index may offer besides the contract: all tokens at hand, for whoever compares whole images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sightline.types import Half


@runtime_checkable
class HoldsTokens(Protocol):
    """An index that has all tokens at hand: those of whole images come without naming every row."""

    def images_at(self, images: slice | NDArray[np.intp]) -> Half:
        """fp16 ``[n,Q,D]``: the tokens of images, by position; of a slice as they lie there, uncopied."""
        ...
