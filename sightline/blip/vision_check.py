"""Whether int8 leaves a checkpoint's query tokens, and what they order, where the other arithmetic puts them.

Compared are real pictures that pass the model anyway. Every picture's tokens must stay near in the mean, and
the orders of the pictures by max-sim, for texts that describe common scenes, must be kept.
Shapes: B pictures of one pass · N pictures in all · Q query tokens · D joint dim · T texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

PICTURES: Final = 200
"""Compared before int8 is taken."""
LEAST_COSINE, LEAST_TAU, LEAST_TOP10 = 0.995, 0.98, 0.98
_ROUNDING: Final = 1e-4
"""By which the product of two unit rows in float32 may be above 1."""


@dataclass(frozen=True)
class VisionVerdict:
    """What was found. Cosines are of a query token in int8 with itself."""

    pictures: int
    cosine: float
    """Of the picture that kept least: the mean over its Q tokens."""
    tau: float
    """Kendall's τ of the pictures' order by max-sim, mean over the texts."""
    top10: float
    """Share of the best ten that both orders have, mean over the texts."""

    @property
    def holds(self) -> bool:
        """Whether int8 may be taken. False for numbers that are none, or no shares."""
        found = (self.cosine, self.tau, self.top10)
        least = (LEAST_COSINE, LEAST_TAU, LEAST_TOP10)
        kept = all(low <= one <= 1 + _ROUNDING for low, one in zip(least, found, strict=True))
        return kept and self.pictures >= PICTURES

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> VisionVerdict | None:
        """From what `vars` gave; None when it is not that."""
        numbers = [value.get(name) for name in ("pictures", "cosine", "tau", "top10")]
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers):
            return None
        try:
            pictures, *rest = (float(one) for one in numbers if one is not None)
            return cls(int(pictures), *rest)
        except (OverflowError, ValueError):  # infinite, or of hundreds of digits
            return None


class VisionComparison:
    """Adds up pictures until there is a verdict."""

    def __init__(self, texts_TD: Callable[[], Tensor]) -> None:
        """``texts_TD``: gives the text vectors, asked once there are enough pictures."""
        self._texts = texts_TD
        self._exact: list[Tensor] = []
        self._int8: list[Tensor] = []
        self._cosine = 1.0

    @property
    def pictures(self) -> int:
        """How many were compared."""
        return sum(len(one) for one in self._exact)

    def add(self, exact_BQD: Tensor, int8_BQD: Tensor) -> VisionVerdict | None:
        """One pass of the model in both arithmetics, unit rows; the verdict once there is one.

        One picture too far away settles it at once.
        """
        self._exact.append(exact_BQD.float().cpu())
        self._int8.append(int8_BQD.float().cpu())
        cosine = float((self._exact[-1] * self._int8[-1]).sum(-1).mean(-1).min())
        self._cosine = min(self._cosine, cosine) if cosine == cosine else 0.0
        if self._cosine < LEAST_COSINE:
            return VisionVerdict(self.pictures, self._cosine, 0.0, 0.0)
        return self._verdict() if self.pictures >= PICTURES else None

    def _verdict(self) -> VisionVerdict:
        texts_TD = self._texts().float().cpu()
        exact_TN, int8_TN = (_max_sim(torch.cat(tokens), texts_TD) for tokens in (self._exact, self._int8))
        tau = float(torch.stack([_tau(*rows) for rows in zip(exact_TN, int8_TN, strict=True)]).mean())
        return VisionVerdict(self.pictures, self._cosine, tau, _top_overlap(exact_TN, int8_TN, 10))


def _max_sim(tokens_NQD: Tensor, texts_TD: Tensor) -> Tensor:
    """``[T,N]``: the largest cosine of a text with any token of a picture."""
    return torch.einsum("nqd,td->tnq", tokens_NQD, texts_TD).amax(-1)


def _tau(exact_N: Tensor, found_N: Tensor) -> Tensor:
    """Kendall's τ-b (Kendall 1945, "The treatment of ties in ranking problems"); 0 where all are equal."""
    one, other = (torch.sign(scores[:, None] - scores[None, :]) for scores in (exact_N, found_N))
    untied = one.abs().sum() * other.abs().sum()
    return (one * other).sum() / untied.sqrt().clamp_min(1.0)


def _top_overlap(exact_TN: Tensor, found_TN: Tensor, k: int) -> float:
    best, ours = (scores.topk(min(k, scores.shape[1])).indices for scores in (exact_TN, found_TN))
    return float((best[:, :, None] == ours[:, None, :]).any(-1).float().mean())
