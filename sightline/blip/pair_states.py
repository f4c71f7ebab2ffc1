"""Pairs on their way through the layers of a model that judges.

Shapes: J pairs, or 1 while all pairs share their states · S positions · H width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PairStates:
    """Pairs on their way through the layers."""

    hidden: Tensor
    """``[J,S,H]`` fp32; after the last layer only the judged positions."""
    layers: int
    """That they went through."""
    judged: int
    """How many of the first positions the head judges."""
    looking: int
    """How many of them look at patches."""

    def __len__(self) -> int:
        return len(self.hidden)

    def pooled(self) -> Tensor:
        """``[J,H]``: the average of what will be judged."""
        return self.hidden[:, : self.judged].mean(dim=1)

    def of(self, rows: slice | Sequence[int]) -> PairStates:
        """Some of the pairs, in the order of ``rows``."""
        return replace(self, hidden=self.hidden[rows])

    @staticmethod
    def joined(parts: Sequence[PairStates]) -> PairStates:
        """All pairs of one or more parts that are equally far."""
        return replace(parts[0], hidden=torch.cat([part.hidden for part in parts]))
