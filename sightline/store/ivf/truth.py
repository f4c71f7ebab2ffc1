"""The exact answer to held-out texts, kept while tokens stream by: what recall is measured against.

Kept for three selections: all images, a tenth and a hundredth of them, chosen by their keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sightline.store.ivf.lists import Floats
    from sightline.types import Keys, Mask

SHARES: Final = (1.0, 0.1, 0.01)
"""Of the images, in each selection."""
DEPTH: Final = 400
"""Images that are kept for a text: the best 100 are still there when three of four were deleted."""
NOBODY: Final = -1
"""No image's key."""


def selected(keys: Keys, share: float) -> Mask:
    """Which images are in the selection: a hash of the key decides, so it is always the same.

    The hash: SplitMix64's mixing (Steele, Lea, Flood 2014).
    """
    if share >= 1.0:
        return np.ones(len(keys), np.bool_)
    mixed = keys.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    chosen: Mask = mixed % np.uint64(10_000) < np.uint64(round(share * 10_000))
    return chosen


@dataclass
class Truth:
    """Of each selection and text the best images by falling score: ``keys`` and ``scores`` ``[S,T,DEPTH]``.

    Where there are fewer, the key is `NOBODY` and the score −inf. ``floor`` ``[S,T]`` is the best score that
    was ever left out: what is known below it is not all there is.
    """

    keys: NDArray[np.int64]
    scores: Floats
    floor: Floats

    @classmethod
    def empty(cls, texts: int) -> Truth:
        shape = len(SHARES), texts, DEPTH
        floor = np.full(shape[:2], -np.inf, np.float32)
        return cls(np.full(shape, NOBODY, np.int64), np.full(shape, -np.inf, np.float32), floor)

    def add(self, keys: Keys, best_NT: Floats) -> None:
        """More images and their best scores for each text; cheaper for many at once."""
        for number, share in enumerate(SHARES):
            chosen = selected(keys, share)
            if chosen.any():
                self._add_to(number, keys[chosen], np.ascontiguousarray(best_NT[chosen].T))

    def forget(self, keys: Keys) -> None:
        """Images that are no more."""
        gone = np.isin(self.keys, keys)
        self.keys[gone] = NOBODY
        self.scores[gone] = -np.inf
        order = np.argsort(-self.scores, axis=2, kind="stable")
        self.keys = np.take_along_axis(self.keys, order, 2)
        self.scores = np.take_along_axis(self.scores, order, 2)

    def best(self, number: int, text: int, count: int) -> Keys:
        """Up to ``count`` keys of one selection for one text: fewer when no more are known for sure."""
        keys = self.keys[number, text, :count]
        sure = self.scores[number, text, :count] >= self.floor[number, text]
        known: Keys = keys[sure & (keys != NOBODY)]
        return known

    def _add_to(self, number: int, keys: Keys, scores_TN: Floats) -> None:
        scores = np.concatenate([self.scores[number], scores_TN], axis=1)
        everyone = np.concatenate(
            [self.keys[number], np.broadcast_to(keys, (len(scores), len(keys)))], axis=1
        )
        order = np.argpartition(-scores, DEPTH - 1, axis=1)
        best, left_out = order[:, :DEPTH], order[:, DEPTH:]
        cut = np.take_along_axis(scores, left_out, 1).max(axis=1)
        self.floor[number] = np.maximum(self.floor[number], cut)
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)
        self.keys[number] = np.take_along_axis(everyone, best, 1)
        self.scores[number] = np.take_along_axis(scores, best, 1)
