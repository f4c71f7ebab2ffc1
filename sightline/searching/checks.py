"""What no collection could answer is refused before anything is loaded."""

from __future__ import annotations

from typing import get_args

from sightline.errors import InputError
from sightline.queries import Query, check_query
from sightline.records import MAX_CANDIDATES, IndexUse, InstructedMatcher, SearchRequest, check_bounds
from sightline.reranker.judging import checked_effort, checked_precision
from sightline.searching.count_checks import check_counted
from sightline.searching.explaining import check_explained


def check(request: SearchRequest) -> None:
    """Refuse what no collection could answer."""
    if request.query is not None:
        _check_query(request, request.query)
    elif request.image is not None and not has_words(request):
        _check_alone(request)
    elif not has_words(request):
        raise InputError("The text is empty; say what the pictures should show.")
    check_bounds(request)
    if request.offset + request.limit > MAX_CANDIDATES:
        raise InputError(f"The sum offset + limit may be at most {MAX_CANDIDATES:,}.")
    checked_precision(request.precision)
    checked_effort(request.effort)
    if request.index not in get_args(IndexUse):
        raise InputError(f"The parameter index is one of {', '.join(get_args(IndexUse))}.")
    check_explained(request)
    if request.matcher is not None:
        _check_matcher(request, request.matcher)
    if request.min_probability is not None and (not request.rerank or request.score == "itc"):
        raise InputError(
            "The parameter min_probability needs ITM scores: search with rerank and a score other than itc."
        )
    check_counted(request)


def _check_query(request: SearchRequest, query: Query) -> None:
    if request.text:
        raise InputError("A search has a text or a query, not both; put the text among the query's clauses.")
    check_query(query)
    if request.matcher is not None:
        raise InputError(
            "A matcher judges one text, not several clauses; leave out the matcher or the query."
        )


def has_words(request: SearchRequest) -> bool:
    """Whether something is asked for in words."""
    return request.query is not None or bool(request.text.strip())


def _check_alone(request: SearchRequest) -> None:
    """A picture without a text: ITM judges pictures by texts, and there is none."""
    if request.min_probability is not None:
        raise InputError(
            "The parameter min_probability is about a text: give one beside the picture, or leave it out."
        )
    if request.matcher is not None:
        raise InputError("A matcher judges by a text: give one beside the picture, or leave the matcher out.")


def _check_matcher(request: SearchRequest, matcher: InstructedMatcher) -> None:
    if not request.rerank or request.score == "itc":
        raise InputError("A matcher puts candidates in order: search with rerank and a score other than itc.")
    if request.precision != "fast":
        raise InputError("A matcher computes in one precision only; leave out the parameter precision.")
    if matcher.instruction is not None and not matcher.instruction.strip():
        raise InputError("The instruction is empty; ask a question that yes or no answers, or leave it out.")
