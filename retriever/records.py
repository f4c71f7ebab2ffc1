"""What a retrieval answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """One image that ITC found. ``itc`` is the cosine of its best query token, ``itc_rank`` counts from 1."""

    key: int
    itc: float
    itc_rank: int


@dataclass(frozen=True)
class Retrieved:
    """Candidates by falling ITC score (ties: by key). ``others``: images that were asked for besides, which
    are not among the candidates, likewise; they are live and pass the filter.

    ``generation`` is the number of the token index that answered (0: everything was scanned), ``images`` how
    many live images could have been found (after the filter). ``degraded``: what this answer had to do
    without, one sentence each. ``approximate``: an image that belongs among the candidates may be missing;
    scores are always exact. ``recall``: the part of the best 100 that the index finds, as measured when it
    was built; None when nothing can have been missed, or for a query of a kind that nobody measured.
    """

    candidates: list[Candidate]
    generation: int
    images: int
    degraded: tuple[str, ...] = ()
    others: Sequence[Candidate] = ()
    recall: float | None = None
    approximate: bool = False
