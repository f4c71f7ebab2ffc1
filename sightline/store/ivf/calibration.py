"""Recall as it is: held-out texts are searched for, and what is found is compared with the exact answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sightline.store.ivf.effort import CALIBRATED, Effort, Efforts
from sightline.store.ivf.truth import SHARES, selected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sightline.store.ivf.lists import Floats
    from sightline.store.ivf.search import IvfIndex
    from sightline.store.ivf.truth import Truth
    from sightline.types import Keys, Mask

MARGIN: Final = 0.002
"""How much more than the target is asked of held-out texts: other texts do a little worse."""
PROBES: Final = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)
FETCHES: Final = (150, 200, 300, 400, 600, 800, 1000, 1400, 2000, 3000, 4000)
_TOP: Final = 10


class Measured(NamedTuple):
    """One effort: what was found of the best 10 and the best 100, and the median time of a query."""

    effort: Effort
    recall10: float
    recall100: float
    milliseconds: float


@dataclass(frozen=True)
class Calibration:
    """``curve``: all that was tried with every image allowed; ``chosen``: one for each share."""

    efforts: Efforts
    chosen: tuple[Measured, ...]
    curve: tuple[Measured, ...]


def calibrate(index: IvfIndex, truth: Truth, texts: Floats, target: float) -> Calibration:
    """The least effort for each share that finds the target; the most that was tried when none does."""
    chosen: list[Measured] = []
    curve: list[Measured] = []
    for number, share in enumerate(SHARES):
        allowed = None if share == 1.0 else selected(index.keys, share)
        if allowed is not None and int(allowed.sum()) < CALIBRATED:
            break  # so few are scanned
        tried = list(_tries(_Trial(index, truth, texts, number, share, allowed), target + MARGIN))
        good = [one for one in tried if one.recall100 >= target + MARGIN]
        chosen.append(
            min(good, key=_cost) if good else max(tried, key=lambda one: (one.recall100, -_cost(one)))
        )
        curve += tried if share == 1.0 else []
    efforts = Efforts(tuple(one.effort for one in chosen))
    return Calibration(efforts, tuple(chosen), tuple(curve))


def _cost(one: Measured) -> float:
    return one.milliseconds


@dataclass(frozen=True)
class _Trial:
    """One selection, searched with different efforts."""

    index: IvfIndex
    truth: Truth
    texts: Floats
    number: int
    share: float
    allowed: Mask | None

    def measure(self, probes: int, fetch: int) -> Measured:
        effort = Effort(self.share, probes, fetch)
        index = replace(self.index, efforts=Efforts((effort,)))
        found10, found100, times = [], [], []
        for number, text in enumerate(self.texts):
            began = time.perf_counter()
            (rows,) = index.candidates(text[None], CALIBRATED, self.allowed, None)
            times.append(time.perf_counter() - began)
            keys = best_keys(index, rows, text, CALIBRATED)
            found10.append(self._recall(keys[:_TOP], number, _TOP))
            found100.append(self._recall(keys, number, CALIBRATED))
        return Measured(
            effort, float(np.mean(found10)), float(np.mean(found100)), float(np.median(times)) * 1e3
        )

    def _recall(self, keys: Keys, text: int, count: int) -> float:
        right = self.truth.best(self.number, text, count)
        return 1.0 if not len(right) else float(np.isin(right, keys).mean())


def best_keys(index: IvfIndex, rows: np.ndarray, text: Floats, count: int) -> Keys:
    """The best images among those rows, best first, in fp32."""
    scores = index.tokens_at(rows).astype(np.float32) @ text
    order = np.argsort(-scores, kind="stable")
    images = rows[order] // index.queries
    _, first = np.unique(images, return_index=True)
    keys: Keys = index.keys[images[np.sort(first)[:count]]]
    return keys


def _tries(trial: _Trial, wanted: float) -> Iterator[Measured]:
    """More cells with many hits until that is enough, then fewer hits while that is enough."""
    cells = len(trial.index.held.trained.bias)
    ladder = [probes for probes in PROBES if probes < cells] + [cells]
    enough = 0
    for probes in ladder:
        one = trial.measure(probes, FETCHES[-1])
        yield one
        enough += one.recall100 >= wanted + MARGIN / 4
        if enough:
            yield from _fewer_hits(trial, probes, wanted)
        if enough == 2:
            return


def _fewer_hits(trial: _Trial, probes: int, wanted: float) -> Iterator[Measured]:
    for fetch in reversed(FETCHES[:-1]):
        one = trial.measure(probes, fetch)
        yield one
        if one.recall100 < wanted:
            return
