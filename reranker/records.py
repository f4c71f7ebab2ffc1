"""What a reranking takes and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.reranker.forms import ImageInput


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


_ALIASES: Final = {"corpus_id": "index", "text": "document"}
"""As `sentence_transformers.CrossEncoder.rank` calls them."""
_ALWAYS: Final = (
    "index", "score", "itm_logit", "match_probability", "itc", "match_probability_raw", "corpus_id"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RankedImage(Mapping[str, Any]):
    """One of the images that were passed in: ``index`` is its position there.

    ``score`` is what the order is by. ``itc`` is None where the reranker has no encoder.
    ``match_probability`` is calibrated, ``match_probability_raw`` the softmax itself. ``document`` is what
    was passed in, where it was asked for; it does not count when two are compared.

    All are keys as well, ``document`` only where there is one. ``hit["corpus_id"]`` is the index and
    ``hit["text"]`` the document, for programs that were written for a CrossEncoder.
    """

    index: int
    score: float
    itm_logit: float
    match_probability: float
    itc: float | None
    match_probability_raw: float
    document: ImageInput | None = field(default=None, compare=False)

    def __getitem__(self, name: str) -> Any:
        if name not in self._names():
            raise KeyError(name)
        return getattr(self, _ALIASES.get(name, name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> tuple[str, ...]:
        return _ALWAYS if self.document is None else (*_ALWAYS, "document", "text")


@dataclass(frozen=True, slots=True)
class SkippedImage:
    """An image that could not be read: its position, what was passed in, a short reason, a sentence."""

    index: int
    document: ImageInput | None = field(compare=False)
    reason: str
    detail: str


class Ranking(list[RankedImage]):
    """Images in order, the best first; ``skipped`` has those that could not be read, by position."""

    def __init__(self, ranked: Iterable[RankedImage] = (), skipped: Iterable[SkippedImage] = ()) -> None:
        super().__init__(ranked)
        self.skipped = tuple(skipped)
