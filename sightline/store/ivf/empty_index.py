"""A generation of no images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sightline.store.index import Rows
    from sightline.types import Half, Keys, Mask, Vector


@dataclass(frozen=True)
class EmptyIndex:
    """See `sightline.store.index.CandidateIndex`: it names nothing."""

    queries: int
    dim: int
    exact: bool = False
    recall: float = 1.0

    @property
    def keys(self) -> Keys:
        """None."""
        return np.empty(0, np.int64)

    def candidates(
        self, vectors_TD: Vector, wanted: int, allowed: Mask | None, probes: int | None
    ) -> list[Rows]:
        """Nothing for each."""
        return [np.empty(0, np.int64) for _ in vectors_TD]

    def tokens_at(self, rows: Rows) -> Half:
        """``[0,D]``."""
        return np.empty((len(rows), self.dim), np.float16)

    def is_intact(self) -> bool:
        """Always: it reads nothing."""
        return True
