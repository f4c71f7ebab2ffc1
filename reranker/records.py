"""What a reranking takes and answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents


class Candidate(Protocol):
    """One image to judge, as the retriever found it (``retriever.Candidate`` fits). Ranks count from 1."""

    @property
    def key(self) -> int: ...
    @property
    def itc(self) -> float: ...
    @property
    def itc_rank(self) -> int: ...


@dataclass(frozen=True, slots=True)
class PatchGroup:
    """Patches of images that are kept in one form, out of several that were asked for together."""

    rows: Sequence[int]
    """Whose patches: positions in the ``keys`` that were asked for."""
    patches: Tensor | Latents
    """In the order of ``rows``: ``[K,P,V]``, or as the cache keeps them."""


class PatchSource(Protocol):
    """Where the patches of stored images come from: the segment cache first, else the original again."""

    def patches(self, keys: Sequence[int]) -> Sequence[PatchGroup]:
        """Patches of ``keys``: one group for each codec, every position of ``keys`` in exactly one."""
        ...


@dataclass(frozen=True, slots=True)
class Ranked:
    """One candidate in its new place.

    ``match_probability`` is calibrated, ``match_probability_raw`` the softmax itself.
    ``itm_logit`` and the two are None where ITM did not score it (no time left, or
    ``score="itc"``, or left out by a cascade); then ``score`` is the ITC score, and not comparable with those
    above it. ``layers``: how many of the matcher's layers it went through. ``clauses``: the match probability
    of every clause of a compound query, in the order of `Query.clauses`.
    """

    key: int
    score: float
    itc: float
    itc_rank: int
    itm_logit: float | None
    match_probability: float | None
    layers: int = 0
    match_probability_raw: float | None = None
    clauses: tuple[float, ...] = ()


Watch = Callable[[Sequence[Ranked]], None]
"""Is told after every batch: all that are scored by then, best first."""


@dataclass(frozen=True, slots=True)
class RankedImage:
    """One of the images that were passed in: ``index`` is its position there.

    ``itc`` is None where the reranker has no encoder. ``match_probability`` is calibrated,
    ``match_probability_raw`` the softmax itself.
    """

    index: int
    score: float
    itm_logit: float
    match_probability: float
    itc: float | None
    match_probability_raw: float
