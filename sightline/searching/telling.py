"""What is told of a search before its end: ITC's answer at once, then the order as ITM makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from sightline.reranker.ordering import unscored
from sightline.searching.collapsing import NOTHING_FOLDED, Folding

if TYPE_CHECKING:
    from sightline.records import SearchHit, SearchRequest, SearchResponse
    from sightline.reranker.records import Ranked
    from sightline.searching.fusion import Fused


class SearchWatch(Protocol):
    """Whoever is told. Called in the thread that searches, which goes on when the call returns."""

    def candidates(self, response: SearchResponse) -> None:
        """What the answer would be without ITM, before ITM begins; ``min_probability`` drops nothing yet."""
        ...

    def is_due(self) -> bool:
        """Whether the order is wanted now: making it costs a read of the catalog."""
        ...

    def order(self, hits: Sequence[SearchHit], scored: int, of: int) -> None:
        """The hits of the answer as they stand after ``scored`` of the ``of`` candidates that ITM is given.

        What is not scored yet stands below in ITC order.
        """
        ...


class Telling:
    """For one search: keeps what ITM has not seen yet in ITC order below what it scored."""

    def __init__(
        self,
        watch: SearchWatch,
        request: SearchRequest,
        fused: Fused,
        describe: Callable[[Sequence[Ranked]], list[SearchHit]],
        folding: Folding = NOTHING_FOLDED,
    ) -> None:
        head = sorted(fused.head, key=lambda one: (one.itc_rank, one.key))
        self._by_itc = [unscored(one) for one in [*head, *fused.rest]]
        self._of = len(fused.head)
        self._watch = watch
        self._request = request
        self._describe = describe
        self._folding = folding

    def by_itc(self) -> list[SearchHit]:
        """The hits as ITC alone orders them."""
        return self._describe(self._page(self._by_itc))

    def order(self, scored: Sequence[Ranked]) -> None:
        """Called after every batch, with all that are scored by then, best first."""
        if not self._watch.is_due():
            return
        done = {one.key for one in scored}
        rest = [one for one in self._by_itc if one.key not in done]
        least = self._request.min_probability
        page = self._page([one for one in [*scored, *rest] if is_probable(one, least)])
        self._watch.order(self._describe(page), len(scored), self._of)

    def _page(self, ranked: Sequence[Ranked]) -> Sequence[Ranked]:
        start = self._request.offset
        return self._folding.fold(ranked)[start : start + self._request.limit]


def is_probable(one: Ranked, least: float | None) -> bool:
    """Whether it may be a hit where a match probability of ``least`` is asked for."""
    return least is None or (one.match_probability is not None and one.match_probability >= least)
