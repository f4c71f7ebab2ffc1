"""A search as events: ``candidates`` (ITC's answer), ``order`` (as ITM makes it), and ``result``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sightline.api.schemas.search import OrderAnswer, PlaceAnswer, hit_answer, search_answer
from sightline.api.streaming import Event
from sightline.records import SearchHit, SearchResponse

EVERY_SECONDS: Final = 0.2
"""How long an order stands at least: nobody sees more of them."""
REST: Final = 9
"""After telling an order, so many times as long passes before the next: telling takes a tenth of a search."""


class Reader(Protocol):
    """Where events are pushed to (`sightline.api.pushing.Pushed`)."""

    @property
    def is_read(self) -> bool: ...

    def push(self, event: Event) -> None: ...


class Shape(Protocol):
    """What is sent of a search, as JSON."""

    def candidates(self, response: SearchResponse) -> str:
        """What ITC says."""
        ...

    def order(self, hits: Sequence[SearchHit], scored: int, of: int) -> str:
        """The order by now."""
        ...


class SearchEvents:
    """A SearchWatch whose events are pushed. Orders that a client would read too late are left out."""

    def __init__(
        self,
        reader: Reader,
        shape: Shape,
        seconds: float = EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``seconds`` pass at least between two orders."""
        self._reader = reader
        self._shape = shape
        self._seconds = seconds
        self._clock = clock
        self._began = self._due = float("-inf")

    def candidates(self, response: SearchResponse) -> None:
        """Pushed at once."""
        self._reader.push(Event("candidates", self._shape.candidates(response)))

    def is_due(self) -> bool:
        """When the client has read what there was, and some time has passed."""
        self._began = self._clock()
        return self._reader.is_read and self._began >= self._due

    def order(self, hits: Sequence[SearchHit], scored: int, of: int) -> None:
        """Pushed at once."""
        self._reader.push(Event("order", self._shape.order(hits, scored, of)))
        now = self._clock()
        self._due = now + max(self._seconds, REST * (now - self._began))


class JsonShape:
    """As the API tells it. A hit is told whole once."""

    def __init__(self, collection: str, root: str) -> None:
        self._collection = collection
        self._root = root
        self._told: set[str] = set()

    def candidates(self, response: SearchResponse) -> str:
        """The whole answer, as if that were all."""
        self._told.update(hit.id for hit in response.results)
        return search_answer(response, self._collection, self._root).model_dump_json()

    def order(self, hits: Sequence[SearchHit], scored: int, of: int) -> str:
        """Places of all hits, and those whole that are new."""
        new = [hit_answer(hit, self._collection, self._root) for hit in hits if hit.id not in self._told]
        self._told.update(hit.id for hit in new)
        places = [PlaceAnswer.of(hit) for hit in hits]
        return OrderAnswer(scored=scored, of=of, order=places, hits=new).model_dump_json()
