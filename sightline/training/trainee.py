"""What the loop turns: anything that makes losses of batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from sightline.training.losses import LossLine

OnStep = Callable[[int, int, LossLine], None]
"""Told after each step: how many are done, how many there are, and the step's line of the loss curve."""


class Batch(Protocol):
    """Tensors of one step."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        ...


Taken = TypeVar("Taken", bound=Batch)
Made = TypeVar("Made", bound=Batch, covariant=True)


class Batches(Protocol[Made]):
    """Batches by step number: a pure function of it, so that a resumed run sees the same."""

    def stream(self, start: int, stop: int, rank: int = 0) -> Iterator[Made]:
        """Batches of the steps from ``start`` to ``stop``, on the CPU."""
        ...


class Trainee(nn.Module, ABC, Generic[Taken]):
    """A module with losses."""

    @abstractmethod
    def forward(self, batch: Taken, hardness: float, seed: int) -> dict[str, Tensor]:
        """The loss of each objective, scalars.

        ``hardness`` 0 to 1 is of ITM's negatives, ``seed`` decides what is drawn.
        """

    def settle(self) -> None:
        """Called after each step of the optimiser."""

    def told(self) -> dict[str, float]:
        """What else belongs in the line of a step."""
        return {}


@dataclass(frozen=True)
class Optimisation:
    """How a run optimises; the fields mean what they mean in ``TrainConfig``."""

    lr: float
    vision_lr: float | None
    weight_decay: float
    warmup: float
    hard_after: float
    clip_norm: float
    seed: int
