"""A search of the page: as a view when it is done and, where our script follows it, before its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from fastapi import Request, Response
from starlette.templating import Jinja2Templates

from sightline.api.dependencies import Everything, ModelThreads
from sightline.api.discretion import refuse_hidden_fields
from sightline.api.page_chips import chip_of_given
from sightline.api.page_query import SORTS, PageQuery
from sightline.api.page_tiles import percent, tile_of_hit, tiles_of
from sightline.api.page_view import State, View
from sightline.api.problems import Problem
from sightline.api.pushing import Pushed
from sightline.api.routes.search import run_search
from sightline.api.search_events import Reader, SearchEvents
from sightline.api.streaming import Event, EventStream
from sightline.records import SearchHit, SearchRequest, SearchResponse
from sightline.rerank_records import PendingImage, StoredImage
from sightline.searching.count_checks import RELEVANCE
from sightline.searching.reading import listed
from sightline.searching.telling import SearchWatch
from sightline.store.filters import parse_filter, read_filter
from sightline.typed_queries import parse

MOST_SHOWN = 200
TAKEN = "taken_at"
"""The field of the metadata that says when a picture was taken."""
Viewing = Callable[[SearchResponse], View]
Following = Callable[[Viewing], SearchWatch]
"""Makes what is told of a search, from how its answers are viewed."""


async def streamed(
    request: Request, threads: ModelThreads, page: Callable[[Reader | None], Response]
) -> Response:
    """The page's part as the events ``candidates``, ``order`` and ``result``; as it is where that is all.

    ``page`` makes the part in a thread, and tells its reader of a search before its end. Without a place for
    another stream it has no reader, and the part comes as it is.
    """
    made: list[Response] = []

    def work(pushed: Pushed) -> None:
        made.append(page(pushed))
        pushed.push(Event("result", json.dumps({"html": bytes(made[0].body).decode()})))

    pushed = Pushed(threads, request.app.state.followers, work)
    try:
        first = await pushed.first(request.receive)
    except Problem:
        return await threads.run(request.receive, lambda: page(None))
    if first is not None and first.name != "result":
        return EventStream(request, first, pushed)
    pushed.end()
    return made[0]


def searched(
    here: Everything,
    base: View,
    follow: Following | None,
    given: PendingImage | None = None,
    typing: bool = False,
) -> View:
    """What a search of the page finds. ``given``: a picture that came with it, of which no address tells.

    ``typing``: the text may not be whole yet, and ITM looks at nothing.
    """
    base = _with_words(base, given, here.root)
    viewing = partial(_view, here, replace(base, typing=typing), lasting=given is None)
    watch = None if follow is None or typing else follow(viewing)
    request = _request(base, given, here.settings.max_candidates)
    if typing:
        k = base.query.k
        request = replace(
            request, rerank=False, limit=k, candidates=k, effort=None, min_probability=None, sort=None
        )
    return viewing(run_search(here.parts, here.metrics, request, watch))


def _with_words(base: View, given: PendingImage | None, root: str) -> View:
    """How its text was read, in what the page shows."""
    query = base.query
    asked = parse(query.text) if query.text else ""
    chips = base.chips if given is None else [chip_of_given(query, root), *base.chips]
    if isinstance(asked, str):
        keeps = asked if query.counts and not (query.filter or query.like or given) else ""
        return replace(base, chips=chips, texts=(asked,) if asked else (), keeps=keeps)
    texts = tuple(one.text for one in asked.positive)
    clauses = tuple((role, one.text) for role, one in asked.clauses)
    return replace(base, chips=chips, texts=texts, clauses=clauses)


def _request(base: View, given: PendingImage | None, most_scored: int) -> SearchRequest:
    """FilterError for a filter on what is not shown, or that cannot be read."""
    query, collection = base.query, base.collection
    assert collection is not None
    condition = read_filter(query.filter) if query.filter else None
    if condition is not None:
        refuse_hidden_fields(condition)
        parse_filter(condition)  # what is wrong with it is told whether the model is there or not
    asked = parse(query.text) if query.text else ""
    stored = StoredImage(collection.name, query.like) if query.like else None
    request = SearchRequest(
        collection=collection.name,
        image=given or stored,
        limit=max(query.candidates, query.k),
        candidates=query.candidates,
        filter=condition,
        effort=query.effort or None,
    )
    if query.counts:
        sort = query.sort or RELEVANCE
        request = replace(
            request, min_probability=query.minimum, sort=sort, cursor=query.cursor, limit=query.k
        )
    if isinstance(asked, str):
        return replace(request, text=asked)
    # Each clause is scored for itself, and no search scores more than this server lets one score.
    most = max(1, most_scored // max(1, len(asked.clauses)))
    return replace(request, query=asked, candidates=min(query.candidates, most))


def _view(here: Everything, base: View, response: SearchResponse, *, lasting: bool) -> View:
    query, root = base.query, here.root
    assert base.collection is not None
    tiles = tiles_of(response, query, base.collection.name, root)
    best = max((tile.probability for tile in tiles if tile.probability is not None), default=None)
    low = here.settings.low_probability
    state, title = _state(response, query, best, low, bool(tiles), base.typing)
    more = None
    if lasting and response.next_cursor is not None:
        more = query.url(root, cursor=response.next_cursor)
    elif lasting and not base.typing and not query.counts and _has_more(response, query):
        more = query.url(root, k=min(query.k * 2, MOST_SHOWN))
    taken = query.sort.endswith(TAKEN) or any(TAKEN in tile.metadata for tile in tiles)
    dates = tuple(name for name in SORTS if taken or not name.endswith(TAKEN))
    return replace(
        base, state=state, title=title, tiles=tiles, response=response, best=best, next_url=more,
        total=response.images, dates=dates if query.text and lasting else (),
    )  # fmt: skip


def _state(
    response: SearchResponse, query: PageQuery, best: float | None, low: float, found: bool, typing: bool
) -> tuple[State, str]:
    """Which state the page is in, and what that is in words."""
    if response.unknown_words and response.images and not (found and (response.scored or typing)):
        return "unknown", f"I do not know: {listed(response.unknown_words)}"
    if not found:
        return "none", "Nothing to search"
    if best is not None and best < low and not query.counts:
        return "low", "Nothing here matches"
    return "results", ""


def _has_more(response: SearchResponse, query: PageQuery) -> bool:
    return query.k < min(len(response.results), MOST_SHOWN)


def follow(reader: Reader, render: Callable[[View], str], templates: Jinja2Templates, root: str) -> Following:
    """Tells ``reader`` of a search in pieces of the page."""
    return lambda viewing: SearchEvents(reader, PageShape(viewing, render, templates, root))


class PageShape:
    """Pieces of the page: the part as ITC has it, then places and the tiles that were not there yet."""

    def __init__(
        self, viewing: Viewing, render: Callable[[View], str], templates: Jinja2Templates, root: str
    ) -> None:
        self._viewing = viewing
        self._render = render
        self._templates = templates
        self._root = root
        self._view: View | None = None
        self._told: set[str] = set()

    def candidates(self, response: SearchResponse) -> str:
        """``{html}``."""
        view = self._viewing(response)
        most = response.images if view.query.counts else view.query.candidates
        ordering = min(most, response.images) if view.query.text else 0
        self._view = replace(view, ordering=ordering, next_url=None)
        self._told.update(tile.id for tile in view.tiles)
        return json.dumps({"html": self._render(self._view)})

    def order(self, hits: Sequence[SearchHit], scored: int, of: int) -> str:
        """``{scored, of, order: [{id, probability, match}], tiles}``: the last as HTML."""
        view = self._view
        assert view is not None
        assert view.collection is not None
        shown = hits[: view.query.k]
        card = self._templates.get_template("tile.html").module.card  # type: ignore[attr-defined]
        new = [
            card(
                tile_of_hit(hit, view.collection.name, self._root, shown=True),
                "itm",
                True,
                True,
                view.query,
                self._root,
            )
            for hit in shown
            if hit.id not in self._told
        ]
        self._told.update(hit.id for hit in shown)
        places = [
            {
                "id": hit.id,
                "probability": hit.match_probability,
                "match": None if hit.match_probability is None else percent(hit.match_probability),
            }
            for hit in shown
        ]
        return json.dumps({"scored": scored, "of": of, "order": places, "tiles": "".join(new)})
