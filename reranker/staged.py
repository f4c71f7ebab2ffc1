"""The candidates of one text on their way through a cascade: all begin, the best go on, nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.blip.calibration import PLAIN, Calibration
from sightline.errors import DeadlineError
from sightline.reranker.cascade import Waiting
from sightline.reranker.judging import Scored, gathered, match_scores, ranking_score

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.pair_states import PairStates
    from sightline.blip.protocols import StagedMatcher
    from sightline.records import ScoreName
    from sightline.reranker.cascade import Course
    from sightline.reranker.records import Candidate, PatchSource

Told = Callable[[dict[int, Scored]], None]


@dataclass(eq=False, slots=True)
class Pair:
    """The text and one candidate. ``stage`` counts the stops that it came to."""

    key: int
    itc: float
    predicted: float
    """Its match logit, as far as is known."""
    stage: int = 0
    states: PairStates | None = None
    scored: Scored | None = None

    @property
    def layers(self) -> int:
        return 0 if self.states is None else self.states.layers


class StagedJudge:
    """For one call, in one thread. Holds the states of every pair that may go on, patches of one batch."""

    def __init__(
        self,
        matcher: StagedMatcher,
        source: PatchSource,
        text: str,
        course: Course,
        score: ScoreName,
        batch_size: int,
        calibration: Calibration = PLAIN,
    ) -> None:
        self._matcher = matcher
        self._source = source
        self._text = text
        self._course = course
        self._score = score
        self._batch_size = batch_size
        self._calibration = calibration

    def score(self, candidates: Sequence[Candidate], watch: Told) -> list[Pair]:
        """All pairs whose patches could be had, as far as they came; ``watch`` is told of those that were
        scored, after every batch."""
        itcs = np.array([one.itc for one in candidates])
        predicted = self._course.stages[0].probe.predict(np.empty((len(itcs), 0)), itcs)
        pairs = [
            Pair(one.key, one.itc, float(guess)) for one, guess in zip(candidates, predicted, strict=True)
        ]
        self._all = dict.fromkeys(pairs)
        try:
            for stage in range(1, len(self._course.stages)):
                pairs = self._through(pairs, stage)
            self._through(pairs, len(self._course.stages), watch)
        except DeadlineError:
            pass  # the model was not free in time: others use it as well
        return list(self._all)

    def _through(self, pairs: list[Pair], stage: int, watch: Told | None = None) -> list[Pair]:
        """The pairs that come to ``stage``."""
        waiting = sorted(pairs, key=lambda pair: (-self._ranked(pair), pair.key))
        through: list[Pair] = []
        while waiting and (count := self._wanted(waiting, through, stage)):
            batch, waiting = waiting[:count], waiting[count:]
            through += self._advanced(batch, stage)
            if watch is not None:
                watch({pair.key: pair.scored for pair in through if pair.scored is not None})
        return through

    def _wanted(self, waiting: Sequence[Pair], through: Sequence[Pair], stage: int) -> int:
        """How many of those that wait should come through next, at most."""
        wait = Waiting(
            np.array([pair.predicted for pair in waiting]),
            np.array([self._ranked(pair) for pair in waiting]),
            np.array([pair.stage for pair in waiting]),
        )
        scores = np.array([self._ranked(pair) for pair in through])
        return self._course.next(wait, scores, stage, self._batch_size)

    def _ranked(self, pair: Pair) -> float:
        return ranking_score(self._score, pair.predicted, pair.itc)

    def _advanced(self, batch: Sequence[Pair], stage: int) -> list[Pair]:
        """The pairs of a batch whose patches can be had, at their new stage. The others are forgotten."""
        by_layers: dict[int, list[Pair]] = {}
        for pair in batch:
            by_layers.setdefault(pair.layers, []).append(pair)
        for equal in by_layers.values():
            self._looked(equal, stage)
        lost = [pair for pair in batch if pair.stage != stage]
        for pair in lost:
            del self._all[pair]
        return [pair for pair in batch if pair.stage == stage]

    def _looked(self, batch: Sequence[Pair], stage: int) -> None:
        """Pairs that are equally far look at their patches, up to a stage."""
        import torch

        pairs = {pair.key: pair for pair in batch}
        with torch.inference_mode():
            for keys, patches in gathered(self._source, list(pairs)):
                group = [pairs[key] for key in keys]
                self._note(group, self._states(group, patches.to(self._matcher.device), stage), stage)

    def _states(self, pairs: Sequence[Pair], patches: Tensor | Latents, stage: int) -> PairStates:
        """Where these pairs are, equally far until now, once they come to ``stage``."""
        layers = self._course.layers(stage)
        before = [pair.states for pair in pairs if pair.states is not None]
        if not before:
            return self._matcher.look(self._text, patches, layers)
        return self._matcher.look_on(before[0].joined(before), patches, layers)

    def _note(self, pairs: Sequence[Pair], states: PairStates, stage: int) -> None:
        """What is known of the pairs now."""
        if stage == len(self._course.stages):
            judged = match_scores(self._matcher.decide(states), self._calibration)
            for pair, scored in zip(pairs, judged, strict=True):
                pair.scored, pair.predicted = scored, scored.logit
        else:
            itcs = np.array([pair.itc for pair in pairs])
            pooled = states.pooled().double().cpu().numpy()
            predicted = self._course.stages[stage].probe.predict(pooled, itcs)
            for pair, guess in zip(pairs, predicted.tolist(), strict=True):
                pair.predicted = guess
        for row, pair in enumerate(pairs):
            pair.stage, pair.states = stage, states.of(slice(row, row + 1))
