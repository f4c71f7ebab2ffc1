"""Pairs of some pictures and texts, scored from the same stored patches in several arithmetics.

An arithmetic passes when Kendall's τ to float32 and the overlap of the best ten, of match logit + ITC, are at
least 0.98 in the mean over the texts.
Shapes: N pictures · T texts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ImageRejected
from sightline.reranker.fidelity import Fidelity, FidelityMeter
from sightline.serving.verdicts import EXACT, LEAST, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.protocols import RetrievalModel
    from sightline.reranker.records import PatchGroup
    from sightline.types import OnProgress

HOPELESS: Final = 0.95
"""Below this after the first few pairs the others are not tried. They are too few to say it exactly."""
AT_ONCE: Final = 8
"""Pairs in one turn at the model: searches come in between."""

_FEWEST: Final = 11
"""Pictures; of ten, any order has the same best ten."""

Result = TypeVar("Result")


class Run(Protocol):
    """Runs something that computes: at once, or in a turn at the model."""

    def __call__(self, compute: Callable[[], Result]) -> Result: ...


def at_once(compute: Callable[[], Result]) -> Result:
    """In this thread, now."""
    return compute()


class Patches(Protocol):
    """Stored patches by key (`sightline.searching.patches.CollectionPatches`)."""

    def patches(self, keys: Sequence[int]) -> list[PatchGroup]: ...


@dataclass(frozen=True)
class PairSample:
    """What is scored. ``itc``: ``[T,N]``."""

    keys: Sequence[int]
    texts: Sequence[str]
    itc: NDArray[np.float32]
    source: Patches


class Trials:
    """The arithmetics, by the models that score in them; `EXACT` is among them."""

    def __init__(
        self, models: Mapping[str, RetrievalModel], sample: PairSample, run: Run, show: OnProgress
    ) -> None:
        self._models = dict(models)
        self._sample = sample
        self._run = run
        self._show = show
        self._logits = {name: np.full(sample.itc.shape, np.nan, np.float32) for name in models}
        self._seconds = dict.fromkeys(models, float("inf"))
        self._scored_N = np.zeros(len(sample.keys), np.bool_)
        self.shape = (0, 0)
        """T and N that the results are of."""

    def results(self, first_texts: int, first_pictures: int) -> list[Trial]:
        """What each arithmetic but `EXACT` keeps of the order; after a few pairs only, of the hopeless."""
        texts, pictures = self._sample.itc.shape
        few_texts, few_pictures = range(min(first_texts, texts)), range(min(first_pictures, pictures))
        self._score(few_texts, few_pictures)
        early = self._trials(len(few_texts), len(few_pictures), HOPELESS)
        for one in early:
            if not one.passed:
                del self._models[one.arithmetic]
        if list(self._models) == [EXACT]:
            return early
        self._score(range(len(few_texts), texts), few_pictures)
        self._score(range(texts), range(len(few_pictures), pictures))
        return [one for one in early if not one.passed] + self._trials(texts, pictures, LEAST)

    def milliseconds(self, arithmetic: str) -> float:
        """That a pair took in the quickest turn."""
        return 1000 * self._seconds[arithmetic]

    def _trials(self, texts: int, pictures: int, least: float) -> list[Trial]:
        self.shape = (texts, pictures)
        trials = []
        for name in self._models:
            if name != EXACT:
                found = self._fidelity(name)
                passed = min(found.tau, found.top10) >= least
                trials.append(Trial(name, found.tau, found.top10, self.milliseconds(name), passed))
        return trials

    def _fidelity(self, arithmetic: str) -> Fidelity:
        texts, pictures = self.shape
        at = np.flatnonzero(self._scored_N[:pictures])
        exact_TN, found_TN = self._logits[EXACT][:texts, at], self._logits[arithmetic][:texts, at]
        if len(at) < _FEWEST or not np.isfinite(found_TN).all():
            return Fidelity(0.0, 0.0, float("inf"), texts)
        meter = FidelityMeter()
        for exact, found, itc in zip(exact_TN, found_TN, self._sample.itc[:texts, at], strict=True):
            meter.add(exact + itc, found + itc, exact, found)
        return meter.result()

    def _score(self, texts: range, pictures: range) -> None:
        for start in range(pictures.start, pictures.stop, AT_ONCE):
            columns = range(start, min(start + AT_ONCE, pictures.stop))
            try:
                groups = self._sample.source.patches([self._sample.keys[at] for at in columns])
            except ImageRejected:
                continue  # lost since they were listed: what is left says enough
            for group in groups:
                rows = [columns[row] for row in group.rows]
                for text in texts:
                    for name in self._models:
                        self._turn(name, text, rows, group.patches)
            self._show("precision", columns.stop, len(self._sample.keys))

    def _turn(self, name: str, text: int, columns: list[int], patches: Tensor | Latents) -> None:
        model, words = self._models[name], self._sample.texts[text]

        def compute() -> tuple[NDArray[np.float32], float]:
            began = time.perf_counter()
            logits: NDArray[np.float32] = model.match([words], patches)[:, 1].float().cpu().numpy()
            return logits, time.perf_counter() - began

        logits, seconds = self._run(compute)
        self._logits[name][text, columns] = logits
        self._scored_N[columns] = True
        self._seconds[name] = min(self._seconds[name], seconds / len(columns))
