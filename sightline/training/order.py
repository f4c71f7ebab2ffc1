"""Which pairs stand in which batch: a pure function of (seed, step), so that a resumed run sees the same.

``N`` pictures · an epoch sees every picture once, with one of its captions; its captions take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError


@dataclass(frozen=True)
class Order:
    """The order of a run.

    ``captions`` holds the number of captions of each picture, ``batch_size`` counts pairs per rank. The last
    pairs of an epoch that fill no batch wait for another epoch, whose shuffle is another one.
    """

    captions: Sequence[int]
    batch_size: int
    seed: int
    ranks: int = 1

    @property
    def pairs_per_step(self) -> int:
        """Pairs over all ranks; fewer than asked for when there are fewer pictures."""
        return min(self.batch_size, len(self.captions) // self.ranks) * self.ranks

    @property
    def steps_per_epoch(self) -> int:
        """At least 1.

        Raises:
            InputError: too few pictures to contrast.
        """
        if len(self.captions) < 2 * self.ranks:
            least, left = 2 * self.ranks, len(self.captions)
            raise InputError(f"Training needs at least {least} usable pictures; {left} are left.")
        return len(self.captions) // self.pairs_per_step

    def batch(self, step: int, rank: int = 0) -> list[tuple[int, int]]:
        """(picture, caption) of every pair of this rank in this step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        size = self.pairs_per_step // self.ranks
        start = position * self.pairs_per_step + rank * size
        pictures = self._shuffled(epoch)[start : start + size]
        return [(int(picture), self._caption(int(picture), epoch)) for picture in pictures]

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.captions))

    def _caption(self, picture: int, epoch: int) -> int:
        turn, position = divmod(epoch, self.captions[picture])
        order = np.random.default_rng([self.seed, 1, picture, turn]).permutation(self.captions[picture])
        return int(order[position])


def schedule(step: int, steps: int, warmup: float, lr: float) -> float:
    """Learning rate of a step: linear warm-up over a share of the run, then a cosine to a hundredth."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return lr * (step + 1) / rising
    progress = (step - rising) / max(1, steps - rising)
    return float(lr * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * progress))))


def hardness(step: int, steps: int, hard_after: float) -> float:
    """How hard ITM's negatives are: random ones at first, then as many hard ones as are usual by the end.

    Hard negatives from the first step left ITM at chance for over 400 steps; with random ones first it
    learned at once. After ``hard_after`` of the run the share of hard ones rises to 1 over another tenth.
    """
    begin = hard_after * steps
    return float(np.clip((step - begin) / max(1.0, 0.1 * steps), 0.0, 1.0)) if hard_after > 0 else 1.0
