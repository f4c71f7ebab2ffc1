"""Scores the candidates of one text in batches, from the patches of their keys, until the time is up."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sightline.errors import CorruptionError, DeadlineError, ImageRejected, NotFoundError
from sightline.reranker.pace import Pace
from sightline.reranker.records import PatchSource
from sightline.reranker.scores import match_scores

if TYPE_CHECKING:
    from sightline.blip.protocols import Matcher
    from sightline.records import Precision

log = logging.getLogger(__name__)

Scored = tuple[float, float]
"""(match logit, match probability)."""


class Judge:
    """For one call, in one thread."""

    def __init__(self, matcher: Matcher, source: PatchSource, text: str, pace: Pace) -> None:
        self._matcher = matcher
        self._source = source
        self._text = text
        self._pace = pace

    def score(self, keys: Sequence[int], precision: Precision = "fast") -> dict[int, Scored]:
        """What was scored in time, by key, from the first key on."""
        scored: dict[int, Scored] = {}
        start = 0
        if precision == "exact":
            self._pace.slow_down()
        while start < len(keys) and (size := self._pace.next_batch()):
            batch = keys[start : start + size]
            try:
                scored.update(self._score_batch(batch, precision))
            except DeadlineError:
                break  # the model was not free in time: others use it as well
            self._pace.done(len(batch))
            start += len(batch)
        return scored

    def _score_batch(self, keys: Sequence[int], precision: Precision) -> dict[int, Scored]:
        import torch

        try:
            groups = self._source.patches(keys)
        except (NotFoundError, CorruptionError, ImageRejected) as error:
            if len(keys) == 1:
                log.warning("Key %d keeps its ITC place, its patches cannot be had: %s", keys[0], error)
                return {}
            # One lost picture must not cost its neighbours their score.
            return {k: v for key in keys for k, v in self._score_batch([key], precision).items()}
        scored: dict[int, Scored] = {}
        with torch.inference_mode():
            for group in groups:
                patches = group.patches.to(self._matcher.device)
                logits = self._matcher.match([self._text], patches, precision)
                scored.update(zip([keys[row] for row in group.rows], match_scores(logits), strict=True))
        return scored
