"""When a search counts all hits, and what such a search cannot be asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sightline.errors import InputError
from sightline.records import SearchRequest
from sightline.store.sorting import Sort, parse_sort

RELEVANCE: Final = "relevance"


def is_counted(request: SearchRequest) -> bool:
    """Whether all hits are wanted, in an order and with their number, and not the best candidates only."""
    named = request.sort is not None or request.exact or request.cursor is not None
    return named and request.min_probability is not None


def sort_of(request: SearchRequest) -> Sort | None:
    """What hits are put in order by; None: their relevance. Raises InputError: nothing that is known."""
    return None if request.sort in (None, RELEVANCE) else parse_sort(str(request.sort))


def as_counted(request: SearchRequest) -> SearchRequest:
    """What its question goes by: candidates in ITC order alone, and none missed for ``exact``."""
    return replace(request, texts=False, index="exact" if request.exact else request.index)


def check_counted(request: SearchRequest) -> None:
    """Raises InputError for what cannot be counted."""
    by_field = sort_of(request) is not None
    if request.min_probability is None and (by_field or request.exact or request.cursor is not None):
        name = "sort" if by_field else "exact" if request.exact else "cursor"
        raise InputError(
            f"The parameter {name} needs min_probability: it goes with all pictures that match at least so "
            "well."
        )
    if not is_counted(request):
        return
    if request.precision != "fast":
        raise InputError(
            "All pictures that match are judged in one precision; leave out the parameter precision."
        )
    if request.collapse:
        raise InputError("The parameter collapse goes with the best hits; leave out sort, exact and cursor.")
    if request.cursor is not None and request.offset:
        raise InputError("A page begins at a cursor or at an offset; give one of the two.")
