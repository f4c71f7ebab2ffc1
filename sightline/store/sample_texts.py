"""Sample texts: vectors of what users ask, or might ask, of one collection in one model.

An approximate index learns from them which tokens of an image can ever be its best, and where to look, and
is measured with some that it did not learn from. Whoever has the model writes them, as fitted codecs are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sightline.types import Vector

CAPTIONS: Final = 0
"""Captions and other texts of the collection's own images."""
QUERIES: Final = 1
"""What was asked, where that may be kept."""
GENERAL: Final = 2
"""Sentences that come with this package: they resemble what is asked of any collection, more or less."""


@dataclass(frozen=True)
class SampleTexts:
    """Unit vectors fp32 ``[M,D]`` in random order, and where each came from (`CAPTIONS`, …) int8 ``[M]``.

    ``id`` names this very set.
    """

    id: str
    vectors: Vector
    origins: NDArray[np.int8]
