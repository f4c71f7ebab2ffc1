"""What ``sightline demo`` asks, and what the two orders made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sightline.records import SearchHit

SHOWN = 5
NOTHING_BELOW = 0.5
"""The best match probability under which the answer is that nothing matches."""


@dataclass(frozen=True)
class Query:
    """A shipped query: its text, what it is there to show, and the image ids that are right."""

    text: str
    shows: str
    relevant: frozenset[str]


@dataclass(frozen=True)
class Outcome:
    """What the two orders put on top for one query."""

    query: Query
    by_itc: tuple[SearchHit, ...]
    after_itm: tuple[SearchHit, ...]

    def right(self, hits: Sequence[SearchHit], k: int) -> int:
        """How many of the first k are right."""
        return sum(hit.id in self.query.relevant for hit in hits[:k])

    @property
    def best_probability(self) -> float:
        """The highest match probability among the shown hits."""
        return max((hit.match_probability or 0.0 for hit in self.after_itm), default=0.0)


def summary(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Right answers by ITC and after ITM, over the queries that have any."""
    answerable = [one for one in outcomes if one.query.relevant]
    nothing = [one for one in outcomes if not one.query.relevant]
    return {
        "answerable": len(answerable),
        "findable_in_top": sum(min(SHOWN, len(one.query.relevant)) for one in answerable),
        "right_in_top_by_itc": sum(one.right(one.by_itc, SHOWN) for one in answerable),
        "right_in_top_after_itm": sum(one.right(one.after_itm, SHOWN) for one in answerable),
        "first_right_by_itc": sum(one.right(one.by_itc, 1) for one in answerable),
        "first_right_after_itm": sum(one.right(one.after_itm, 1) for one in answerable),
        "unanswerable": len(nothing),
        "said_that_nothing_matches": sum(one.best_probability < NOTHING_BELOW for one in nothing),
    }


def plain(outcome: Outcome) -> dict[str, Any]:
    """One query and its two orders, as ``--json`` prints them."""
    query = outcome.query
    itc = [{"id": hit.id, "itc": hit.itc, "right": hit.id in query.relevant} for hit in outcome.by_itc]
    itm = [
        {"id": hit.id, "match_probability": hit.match_probability, "itc_rank": hit.itc_rank,
         "right": hit.id in query.relevant}
        for hit in outcome.after_itm
    ]  # fmt: skip
    return {"text": query.text, "shows": query.shows, "relevant": len(query.relevant), "itc": itc, "itm": itm}
