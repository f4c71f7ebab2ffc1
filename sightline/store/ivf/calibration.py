"""Recall as it is: held-out texts are searched for, and what is found is compared with the exact answer.

An image of the exact answer that is among the finalists is found, because finalists are scored exactly. So
one search for many hits tells what fewer of them would have found; the rest is left to `IvfIndex.candidates`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sightline.store.ivf.effort import CALIBRATED, Effort, Efforts
from sightline.store.ivf.search import first_images
from sightline.store.ivf.truth import SHARES, selected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sightline.store.index import Rows
    from sightline.store.ivf.lists import Floats
    from sightline.store.ivf.search import IvfIndex
    from sightline.store.ivf.truth import Truth
    from sightline.types import Keys, Mask

MARGIN: Final = 0.001
"""How much more than the target is asked of held-out texts, beyond the standard error of their mean."""
PROBES: Final = (
    4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024, 1536, 2048, 3072, 4096,
)  # fmt: skip
FETCHES: Final = (150, 200, 250, 300, 400, 500, 600, 800, 1000, 1250, 1500, 2000, 3000)
_TOP: Final = 10
_CURVE_TEXTS: Final = 64
_CURVE_STEPS: Final = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
"""Of the probes that are chosen, for the report."""


class Measured(NamedTuple):
    """One effort: what was found of the best 10 and the best 100, and a query's CPU time (lower quartile).

    ``sure`` is the recall@100 less the standard error of the mean over texts.
    """

    effort: Effort
    recall10: float
    recall100: float
    sure: float
    milliseconds: float


@dataclass(frozen=True)
class Calibration:
    """What was chosen for each share, and how recall depends on the cells when every image is allowed.

    Without a ``curve`` what was measured before was found to be enough still.
    """

    chosen: Sequence[Measured]
    curve: Sequence[Measured] | None

    @property
    def efforts(self) -> Efforts:
        """As a search takes them."""
        return Efforts(tuple(one.effort for one in self.chosen))


def calibrate(index: IvfIndex, truth: Truth, texts: Floats, target: float) -> Calibration:
    """The least effort for each share that finds the target; all the cells when that is not enough."""
    chosen: list[Measured] = []
    curve: list[Measured] = []
    for number, share in enumerate(SHARES[: shares_of(index)]):
        allowed = None if share == 1.0 else selected(index.keys, share)
        trial = Trial(index, truth, texts, number, share, allowed)
        chosen.append(min(_good(trial, target + MARGIN), key=lambda one: one.milliseconds))
        if share == 1.0:
            curve = [trial.measure(*one, _CURVE_TEXTS) for one in _steps(trial, chosen[0].effort)]
    return Calibration(chosen, curve)


def still_enough(index: IvfIndex, truth: Truth, texts: Floats, target: float) -> list[Measured] | None:
    """What the index's own efforts find; None when that is no longer enough for one of the shares."""
    found: list[Measured] = []
    if len(index.efforts.measured) != shares_of(index):
        return None
    for number, effort in enumerate(index.efforts.measured):
        allowed = None if effort.share == 1.0 else selected(index.keys, effort.share)
        trial = Trial(index, truth, texts, number, effort.share, allowed)
        one = trial.measure(effort.probes, effort.fetch)
        if one.sure < target:
            return None
        found.append(one)
    return found


@dataclass(frozen=True)
class Trial:
    """One selection of the truth, searched for with different efforts."""

    index: IvfIndex
    truth: Truth
    texts: Floats
    number: int
    share: float
    allowed: Mask | None

    @property
    def cells(self) -> int:
        """L."""
        return len(self.index.held.trained.centroids)

    def measure(self, probes: int, fetch: int, texts: int | None = None) -> Measured:
        """The whole search, as it is."""
        effort = Effort(self.share, probes, fetch)
        index = replace(self.index, efforts=Efforts((effort,)))
        found10, found100, times = [], [], []
        for number, text in enumerate(self.texts[:texts]):
            began = time.thread_time()
            (rows,) = index.candidates(text[None], CALIBRATED, self.allowed, None)
            times.append(time.thread_time() - began)
            keys = best_keys(index, rows, text, CALIBRATED)
            found10.append(self._recall(keys[:_TOP], number, _TOP))
            found100.append(self._recall(keys, number, CALIBRATED))
        milliseconds = float(np.quantile(times, 0.25)) * 1e3  # others on the machine only add
        all100 = np.array(found100)
        recall10, recall100 = float(np.mean(found10)), float(all100.mean())
        return Measured(effort, recall10, recall100, float(_sure(all100[:, None])[0]), milliseconds)

    def recalls(self, probes: int, fetches: Sequence[int]) -> list[float]:
        """Recall@100 by how many hits are fetched, less its standard error."""
        index, selection = self.index, self.index.selection(self.allowed)
        right = np.zeros(len(index.all_keys), np.bool_)
        found = []
        for number, text in enumerate(self.texts):
            rows = index.hits(text, probes, max(fetches), selection).rows
            scores = index.score_hits(text, rows) if index.held.scores_hits else None
            best = self.truth.best(self.number, number, CALIBRATED)
            at = index.order[np.searchsorted(index.all_keys, best, sorter=index.order)]
            right[at] = True
            named = [_finalists(index, rows[:fetch], scores) for fetch in fetches]
            found.append([right[some].sum() / max(1, len(best)) for some in named])
            right[at] = False
        return [float(one) for one in _sure(np.array(found))]

    def _recall(self, keys: Keys, text: int, count: int) -> float:
        right = self.truth.best(self.number, text, count)
        return 1.0 if not len(right) else float(np.isin(right, keys).mean())


def _sure(found_TF: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over texts, less their standard errors: another draw of texts may do that much worse."""
    sure: NDArray[np.float64] = found_TF.mean(axis=0) - found_TF.std(axis=0) / np.sqrt(len(found_TF))
    return sure


def best_keys(index: IvfIndex, rows: Rows, text: Floats, count: int) -> Keys:
    """The best images among those rows, best first, in fp32."""
    scores = index.tokens_at(rows).astype(np.float32) @ text
    order = np.argsort(-scores, kind="stable")
    keys: Keys = index.keys[first_images(rows[order], index.queries)[:count]]
    return keys


def _finalists(index: IvfIndex, rows: Rows, scores: Floats | None) -> NDArray[np.int64]:
    if scores is not None:
        rows = rows[np.argsort(-scores[: len(rows)], kind="stable")]
    return first_images(rows, index.queries)[: index.finalists(CALIBRATED)]


def shares_of(index: IvfIndex) -> int:
    """How many selections are large enough to be measured; smaller ones are scanned."""
    counts = [int(selected(index.keys, share).sum()) for share in SHARES]
    return 1 + sum(count >= CALIBRATED for count in counts[1:])


def _good(trial: Trial, wanted: float) -> list[Measured]:
    """Efforts that find enough: the fewest cells, and more cells for fewer hits."""
    ladder = [probes for probes in PROBES if probes < trial.cells] + [trial.cells]
    low, high = 0, len(ladder) - 1
    while low < high:  # the first that finds enough, by halves: more cells never find less
        middle = (low + high) // 2
        (recall,) = trial.recalls(ladder[middle], FETCHES[-1:])
        low, high = (low, middle) if recall >= wanted else (middle + 1, high)
    good: list[Measured] = []
    for step in dict.fromkeys(min(low + more, len(ladder) - 1) for more in (0, 1, 2)):
        recalls = trial.recalls(ladder[step], FETCHES)
        enough = [fetch for fetch, recall in zip(FETCHES, recalls, strict=True) if recall >= wanted]
        good.append(trial.measure(ladder[step], enough[0] if enough else FETCHES[-1]))
    return [one for one in good if one.sure >= wanted] or [max(good, key=lambda one: one.recall100)]


def _steps(trial: Trial, effort: Effort) -> list[tuple[int, int]]:
    probes = sorted({min(trial.cells, max(1, math.ceil(step * effort.probes))) for step in _CURVE_STEPS})
    return [(one, effort.fetch) for one in probes]
