"""Texts that are asked together: an index names candidates for all of them in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.retriever.max_sim import Part
    from sightline.store.index import Rows
    from sightline.types import Vector


class Together:
    """Vectors ``[T,D]`` of retrievals that want so many ``images`` each. For one thread.

    Each retrieval is as if it were alone: whenever it meets another state of the index than the one before,
    or another filter, that one is asked for all vectors anew.
    """

    def __init__(self, vectors: Sequence[Vector], images: int) -> None:
        self._vectors = list({vector.tobytes(): vector for vector in vectors}.values())
        self._places = {vector.tobytes(): place for place, vector in enumerate(self._vectors)}
        self._images = images
        self._part: Part | None = None
        self._rows: Sequence[Rows] = ()

    def rows(self, part: Part, vector: Vector, images: int, probes: int | None) -> Rows:
        """What ``part.index.candidates`` names for this vector."""
        place = self._places.get(vector.tobytes())
        if place is None or images != self._images or probes is not None:
            (rows,) = part.index.candidates(vector[None], images, part.allowed, probes)
            return rows
        if self._part is None or not _is_same(self._part, part):
            self._rows = part.index.candidates(np.stack(self._vectors), images, part.allowed, None)
            self._part = part
        return self._rows[place]


def _is_same(one: Part, other: Part) -> bool:
    if one.index is not other.index or (one.allowed is None) != (other.allowed is None):
        return False
    return one.allowed is other.allowed or (
        one.allowed is not None and other.allowed is not None and np.array_equal(one.allowed, other.allowed)
    )
