"""How much of the best 100 a generation finds, measured on texts against exact scores; how hard to look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sightline.store.milvus.milvus_index import Effort

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sightline.store.living_images import Batch, Images
    from sightline.store.milvus.milvus_index import MilvusIndex
    from sightline.store.sample_texts import SampleTexts
    from sightline.types import Keys, Vector

TEXTS: Final = 50
"""Nothing is learned from texts here, so that any will do; they come in random order."""
BEST: Final = 100
FEW: Final = 10
MARGIN: Final = 0.002
"""By which the measured recall is to be above the target: so few texts tell no more."""
FETCHES: Final = (16, 64)
FEWEST_PROBES: Final = 8
MEASURED_AGAIN: Final = 1.5
"""A generation that grew by less keeps what was measured before."""


class Measured(NamedTuple):
    """How to look, and what part of the best 100 and of the best 10 that finds."""

    effort: Effort
    recall: float
    recall10: float

    @property
    def worst(self) -> float:
        """Few are looked for among fewer rows: what does for 100 need not do for them."""
        return min(self.recall, self.recall10)


def measured(index: MilvusIndex, images: Images, texts: SampleTexts, target: float) -> Measured:
    """The fewest cells that reach the target with many rows, then with few; else the best there is."""
    vectors = texts.vectors[:TEXTS]
    truth = exact_best(images.batches(), vectors)
    enough = min(1.0, target + MARGIN)

    def tried(probes: int, fetch: int) -> Measured:
        effort = Effort(probes, fetch)
        one = replace(index, effort=effort)
        return Measured(effort, *(_recall(one, vectors, truth, best) for best in (BEST, FEW)))

    few, many = FETCHES
    ladder = probe_ladder(index.manifest.named.nlist)
    found = tried(ladder[-1], many)
    low, high = 0, len(ladder) - 1
    while low < high and found.worst >= enough:  # ladder[high] is known to do
        middle = (low + high) // 2
        one = tried(ladder[middle], many)
        if one.worst >= enough:
            found, high = one, middle
        else:
            low = middle + 1
    cheaper = tried(found.effort.probes, few)
    return cheaper if cheaper.worst >= min(enough, found.worst) else found


def probe_ladder(nlist: int) -> list[int]:
    """Cells to look into, from few to all."""
    return sorted({max(min(FEWEST_PROBES, nlist), nlist // share) for share in (64, 32, 16, 8, 4, 2, 1)})


def exact_best(batches: Iterable[Batch], vectors_TD: Vector) -> list[Keys]:
    """For each text the keys of the best 100 images, by fp32 scores."""
    keys = np.empty(0, np.int64)
    scores = np.empty((len(vectors_TD), 0), np.float32)
    found = np.empty((len(vectors_TD), 0), np.int64)
    for keys, tokens in batches:
        n, queries, dim = tokens.shape
        products = tokens.reshape(n * queries, dim).astype(np.float32) @ vectors_TD.T
        best_TN = products.reshape(n, queries, -1).max(axis=1).T
        scores = np.concatenate([scores, best_TN], axis=1)
        found = np.concatenate([found, np.broadcast_to(keys, best_TN.shape)], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :BEST]
        scores, found = np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)
    return list(found)


def _recall(index: MilvusIndex, vectors: Vector, truth: list[Keys], best: int) -> float:
    """The mean share of the best ones that is named."""
    shares = []
    for rows, keys in zip(index.candidates(vectors, best, None, None), truth, strict=True):
        named = index.keys[rows // index.queries]
        shares.append(float(np.isin(keys[:best], named).mean()) if len(keys) else 1.0)
    return float(np.mean(shares)) if shares else 1.0
