"""How good a model that writes is while it trains: how likely the answers are, how many are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from sightline.training.answering import AnswerBatch, AnswerLearner

AT_ONCE = 16
"""Examples that are looked at together."""


@dataclass(frozen=True)
class Judged:
    """``loss``: nats a token of the answers. ``right``: share of the answers that greedy search gives."""

    loss: float
    right: float


class AnswerValidation:
    """Scores a learner as it is now; nothing is drawn, so that a score depends on the weights alone."""

    def __init__(
        self,
        learner: AnswerLearner,
        pack: Callable[[Sequence[int]], AnswerBatch],
        count: int,
        device: torch.device,
    ) -> None:
        """``pack`` makes a batch of examples by number, of which there are ``count``."""
        self._learner, self._pack, self._count, self._device = learner, pack, count, device

    def __call__(self) -> float:
        """Minus the loss: the higher, the better."""
        return -self.judge().loss

    def judge(self) -> Judged:
        """Loss and share of right answers.

        An answer whose every token is the likeliest after those before it is what greedy search gives.
        """
        training = self._learner.training
        self._learner.eval()
        loss, tokens, right = 0.0, 0, 0
        try:
            with torch.inference_mode():
                for start in range(0, self._count, AT_ONCE):
                    numbers = range(start, min(start + AT_ONCE, self._count))
                    logits, wanted, rows = self._learner.said(self._pack(numbers).to(self._device))
                    wrong = rows[logits.argmax(dim=1) != wanted]
                    loss += float(F.cross_entropy(logits, wanted, reduction="sum"))
                    tokens, right = tokens + len(wanted), right + len(numbers) - len(wrong.unique())
        finally:
            self._learner.train(training)
        return Judged(loss / max(tokens, 1), right / max(self._count, 1))
