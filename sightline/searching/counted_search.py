"""A search that counts: all hits above a match probability, in an order, page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sightline.records import SearchHit, SearchRequest, SearchResponse
from sightline.rerank_records import StoredImage
from sightline.reranker.ordering import unscored
from sightline.searching.count_checks import sort_of
from sightline.searching.count_cursors import cursor_after, read_cursor, set_query
from sightline.searching.count_memory import Asked
from sightline.searching.count_samples import learned_of
from sightline.searching.counting import Counted, Outward, Plan
from sightline.searching.fusion import Fused
from sightline.searching.given_pictures import live_key
from sightline.searching.stopwatch import Stopwatch
from sightline.store.sorting import in_order

if TYPE_CHECKING:
    from sightline.reranker.records import Candidate, Ranked
    from sightline.retriever.records import Retrieved
    from sightline.searching.count_cursors import Cursor
    from sightline.searching.count_memory import CountMemory
    from sightline.searching.count_samples import CountSamples
    from sightline.searching.questions import Question
    from sightline.searching.telling import SearchWatch
    from sightline.store.catalog import Catalog
    from sightline.store.records import Collection

Describe = Callable[[SearchRequest, Fused, "Sequence[Ranked]"], list[SearchHit]]
"""Hits of a request, the first at its offset."""


@dataclass(frozen=True)
class Counts:
    """What counting searches of a process have in common. ``most``: images that one of them judges."""

    samples: CountSamples
    memory: CountMemory
    most: int


class CountedSearch:
    """Answers one counting request."""

    def __init__(
        self,
        catalog: Catalog,
        counts: Counts,
        request: SearchRequest,
        collection: Collection,
        describe: Describe,
    ) -> None:
        assert request.min_probability is not None
        self._catalog = catalog
        self._counts = counts
        self._request = request
        self._least = request.min_probability
        self._collection = collection
        self._describe = describe
        self._cursor = read_cursor(request)
        stored = catalog.newest_calibration(collection.id, collection.fingerprint)
        self._calibration = 0 if stored is None else stored.version
        self._learned = learned_of(collection, self._calibration)
        self._clock = Stopwatch()

    def answer(self, question: Callable[[], Question], watch: SearchWatch | None) -> SearchResponse:
        """One page. ``question`` is asked for unless the count is remembered.

        Raises:
            InputError: an exact count of more images than may be judged, or a foreign cursor.
        """
        counted = self._remembered() or self._count(question(), watch)
        keys = self._in_order(counted)
        start = self._request.offset if self._cursor is None else self._cursor.start(keys)
        end = start + self._request.limit
        shown = {one.key: one for one in counted.hits}
        page = [shown[key] for key in keys[start:end]]
        hits = self._describe(replace(self._request, offset=start), _NO_WORDS, page)
        more = page and end < len(keys)
        after = (
            cursor_after(self._request, self._collection.version, counted.depth, keys[:end]) if more else None
        )
        return self._response(counted, hits, None if after is None else after.text())

    def _response(
        self, counted: Counted, hits: Sequence[SearchHit], next_cursor: str | None
    ) -> SearchResponse:
        found = counted.retrieved
        return SearchResponse(
            results=tuple(hits),
            truncated=counted.truncated,
            timings=self._clock.timings(),
            generation=found.generation,
            images=found.images,
            scored=counted.scored,
            degraded=counted.degraded,
            approximate=found.approximate,
            recall=found.recall,
            total=len(counted.hits),
            total_is="exact" if counted.complete else "at_least",
            next_cursor=next_cursor,
            unknown_words=counted.reading.unknown,
            notes=counted.reading.notes,
        )

    def _asked(self) -> Asked:
        known, image = self._collection, self._request.image
        # The collection's version tells nothing of a picture of another one.
        picture = live_key(self._catalog, image) if isinstance(image, StoredImage) else None
        query = set_query(self._request)
        return Asked(known.id, known.version, known.fingerprint, self._calibration, query, picture)

    def _remembered(self) -> Counted | None:
        """What a search counted before; a new one does not begin with what another had no time to finish."""
        known = self._counts.memory.get(self._asked())
        if known is None or self._cursor is None:
            return None if known is not None and known.late else known
        same = self._is_of(self._cursor) and known.depth != self._cursor.depth
        return None if same else known

    def _is_of(self, cursor: Cursor) -> bool:
        return cursor.version == self._collection.version

    def _count(self, question: Question, watch: SearchWatch | None) -> Counted:
        samples, by_itm = self._counts.samples, self._request.matcher is None
        token = samples.token(self._learned) if by_itm else None
        self._clock.restart()  # loading the model, once in a process, is nobody's query time
        outward = Outward(question, self._plan(token), self._clock)
        found = outward.begin()
        if watch is not None:
            self._tell(watch, question, found, outward.order)
        counted = outward.count(found)
        if counted.seen is not None and token is not None:
            samples.note(self._learned, token, set_query(self._request), counted.seen)
        counted = replace(counted, seen=None)
        self._counts.memory.put(self._asked(), counted)
        return counted

    def _plan(self, token: str | None) -> Plan:
        request, samples, cursor = self._request, self._counts.samples, self._cursor
        depth = cursor.depth if cursor is not None and self._is_of(cursor) else None
        plain = not request.exact and depth is None and request.matcher is None
        learns = plain and token is not None and request.deadline_ms is None
        return Plan(
            least=self._least,
            most=self._counts.most,
            exact=request.exact,
            law=samples.law(self._learned, self._least) if plain else None,
            depth=None if request.exact else depth,
            deeper=learns and samples.goes_deeper(self._learned),
            deadline_ms=request.deadline_ms,
        )

    def _tell(
        self, watch: SearchWatch, question: Question, found: Retrieved, order: Sequence[Candidate]
    ) -> None:
        """What ITC says, before ITM begins: as of any search."""
        first = [unscored(one) for one in order[: self._request.limit]]
        hits = self._describe(replace(self._request, offset=0), _NO_WORDS, first)
        told = Counted((), 0, 0, False, False, found, found.degraded, question.truncated, question.reading)
        watch.candidates(replace(self._response(told, hits, None), total=None, total_is=None))

    def _in_order(self, counted: Counted) -> list[int]:
        keys, sort = [one.key for one in counted.hits], sort_of(self._request)
        if sort is None:
            return keys
        return in_order(keys, self._catalog.sort_values(self._collection.id, keys, sort), sort.down)


_NO_WORDS = Fused((), ())
