"""What a search in a `sightline.Collection` gives: a list of hits, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from pandas import DataFrame

    from sightline.records import SearchHit, SearchResponse


class Hits(Sequence["SearchHit"]):
    """Hits in order, the best first. ``response`` is the whole answer, as `sightline.Search` gives it."""

    def __init__(self, response: SearchResponse) -> None:
        self.response = response

    @property
    def total(self) -> int | None:
        """Hits on all pages, where they were counted (``sort``, ``exact``); else None."""
        return self.response.total

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the answer and of the model, one sentence each."""
        return self.response.notes

    @property
    def unknown_words(self) -> tuple[str, ...]:
        """Words of the text that the model does not know; where it knows none, nothing is ranked."""
        return self.response.unknown_words

    @property
    def degraded(self) -> tuple[str, ...]:
        """What the answer had to do without because files are lost or damaged, one sentence each."""
        return self.response.degraded

    def to_frame(self) -> DataFrame:
        """A row for each hit: rank, id, scores, caption, uri, and a column for each field of the metadata.

        Raises:
            InputError: pandas is not installed.
        """
        from sightline.frames import frame_of

        return frame_of([_row(hit) for hit in self], FIRST)

    def __len__(self) -> int:
        return len(self.response.results)

    @overload
    def __getitem__(self, place: int) -> SearchHit: ...
    @overload
    def __getitem__(self, place: slice) -> list[SearchHit]: ...

    def __getitem__(self, place: int | slice) -> SearchHit | list[SearchHit]:
        results = self.response.results
        return list(results[place]) if isinstance(place, slice) else results[place]

    def __iter__(self) -> Iterator[SearchHit]:
        return iter(self.response.results)

    def __repr__(self) -> str:
        named = ", ".join(f"{hit.id!r}" for hit in self[:5])
        return f"<Hits: {named}{', …' if len(self) > 5 else ''}>"


FIRST = ("rank", "id", "score", "match_probability", "itc", "similarity", "caption", "uri")
"""Columns of a frame of hits, before those of the metadata."""


def _row(hit: SearchHit) -> tuple[dict[str, Any], dict[str, Any]]:
    return {name: getattr(hit, name) for name in FIRST}, dict(hit.metadata)
