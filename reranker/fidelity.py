"""How much of an order survives a cheaper way of scoring. Pure functions over scores ``[K]`` of one query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InputError

Scores = NDArray[np.floating]


@dataclass(frozen=True)
class Fidelity:
    """Means over queries; against uncompressed."""

    tau: float
    """Kendall's τ-b of the two orders."""
    top10: float
    """Share of the best ten that both have."""
    logit_error: float
    """Mean absolute difference of match logits."""
    queries: int


def kendall_tau(exact: Scores, found: Scores) -> float:
    """Kendall's τ-b: concordant minus discordant pairs, over the geometric mean of those that are no ties in
    either (Kendall 1945, "The treatment of ties in ranking problems"). 1 when all scores tie in both.
    """
    one, other = (np.sign(scores[:, None] - scores[None, :]) for scores in (exact, found))
    untied = float(np.abs(one).sum()) * float(np.abs(other).sum())
    if untied == 0.0:
        return 1.0 if not one.any() and not other.any() else 0.0
    return float((one * other).sum() / np.sqrt(untied))


def top_overlap(exact: Scores, found: Scores, k: int = 10) -> float:
    """Share of the best ``k`` (or of all, when there are fewer) that both orders have; ties by position."""
    best, ours = (np.argsort(-scores, kind="stable")[:k] for scores in (exact, found))
    return len(np.intersect1d(best, ours)) / len(best)


class FidelityMeter:
    """Adds up queries."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float]] = []

    def add(self, exact: Scores, found: Scores, exact_logits: Scores, found_logits: Scores) -> None:
        """One query: what orders its candidates, and their match logits, ``[K]`` each."""
        error = float(np.abs(exact_logits - found_logits).mean())
        self._rows.append((kendall_tau(exact, found), top_overlap(exact, found), error))

    def result(self) -> Fidelity:
        """The means.

        Raises:
            InputError: no query was added.
        """
        if not self._rows:
            raise InputError("There are no queries to measure with.")
        tau, top10, error = np.array(self._rows).mean(axis=0).tolist()
        return Fidelity(tau, top10, error, len(self._rows))
