"""``/``: the page, rendered here for every state that it can be in. Works without JavaScript."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.templating import Jinja2Templates

from sightline.api.access import Access, ScopedRoute, needs
from sightline.api.assets import Assets
from sightline.api.audit import note_session
from sightline.api.auth import Gatekeeper
from sightline.api.dependencies import Everything, EverythingHere, Root, SettingsHere
from sightline.api.discretion import shown_name
from sightline.api.page_chips import chips_of
from sightline.api.page_query import CANDIDATES, EFFORTS, SIZES, SORTS, PageQuery, read_query
from sightline.api.page_tiles import percent
from sightline.api.page_view import View, duration
from sightline.api.parts import ApiParts
from sightline.api.problems import Problem, from_error, note
from sightline.api.routes.page_browse import browsed, members
from sightline.api.routes.page_search import Following, follow, searched, streamed
from sightline.api.search_events import Reader
from sightline.api.sending import FileThreads
from sightline.api.sessions import COOKIE, session_of
from sightline.api.throttle import needs_model
from sightline.api.writers import answers_here
from sightline.blip.checkpoint_words import note_on_disk
from sightline.errors import FilterError, NotFoundError, SightlineError
from sightline.rerank_records import PendingImage
from sightline.searching.reading import listed as words_listed
from sightline.store.access import proof_of
from sightline.store.records import Collection

router = APIRouter(include_in_schema=False, route_class=ScopedRoute)
templates = Jinja2Templates(directory=Path(__file__).parent.parent / "templates")
templates.env.filters["percent"] = percent
templates.env.filters["duration"] = duration
templates.env.filters["shown_name"] = shown_name
templates.env.filters["words"] = words_listed
templates.env.trim_blocks = templates.env.lstrip_blocks = True
log = logging.getLogger("sightline.http")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "img-src 'self' blob: data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
THEMES = ("light", "dark")
PARTS = ("results", "events", "typing")
"""What our script asks for in place of the whole page: the part that changes, at once, as it is made, or what
is most similar while somebody types."""


@router.get("/", response_class=HTMLResponse, openapi_extra=needs("open"))
async def page(request: Request, here: EverythingHere) -> Response:
    """The page, or only what changes in it when our script asks (``X-Sightline-Part: results``), which may
    come as events while ITM orders it (``events``), or without ITM while somebody types (``typing``).
    """
    if needs_model(request.scope):
        if part_of(request) == "events":
            return await streamed(request, here.threads, partial(_page, request, here))
        return await here.threads.run(request.receive, lambda: _page(request, here))
    threads: FileThreads = request.app.state.page_threads
    return await threads.run(lambda: _page(request, here))


def part_of(request: Request) -> str | None:
    """What of the page our script asks for; None: all of it."""
    return request.headers.get("x-sightline-part")


def _page(request: Request, here: Everything, reader: Reader | None = None) -> Response:
    settings, root, access = here.settings, here.root, here.access
    refused: Problem | None = request.scope.get("refused")
    if not access.may("read") and (refused is None or refused.status != 503):
        return locked(request, root, refused, wrong=False)
    query = read_query(request.query_params, settings)
    part = part_of(request) in PARTS
    if refused is not None:
        view = View("error", query, title="Not available now", detail=refused.detail)
        status = refused.status
    else:
        following, typing = following_of(request, here, reader), part_of(request) == "typing"
        status, view = look(here, query, picker=not part, following=following, typing=typing)
    return render(request, "results.html" if part else "page.html", page_context(request, here, view), status)


def following_of(request: Request, here: Everything, reader: Reader | None) -> Following | None:
    """Who is told of a search before its end, where somebody reads that."""
    if reader is None:
        return None
    template = templates.get_template("results.html")
    return follow(
        reader, lambda view: template.render(page_context(request, here, view)), templates, here.root
    )


def page_context(request: Request, here: Everything, view: View) -> dict[str, Any]:
    """All that the templates know."""
    access = here.access
    return {
        "view": view,
        "query": view.query,
        "root": here.root,
        "sizes": SIZES,
        "efforts": EFFORTS,
        "sorts": SORTS,
        "writes": access.may("write"),
        "signed_in": access.controlled and COOKIE in request.cookies,
        "asks": view.collection is not None and answers_here(here.parts, view.collection),
        "candidate_choices": [n for n in CANDIDATES if n <= here.settings.max_candidates],
    }


@router.post("/session", openapi_extra=needs("open"))
async def open_session(
    request: Request, settings: SettingsHere, root: Root, key: Annotated[str, Form(max_length=1000)]
) -> Response:
    """Exchange a key for a cookie that is bound to it, so that pictures load without a header."""
    gatekeeper: Gatekeeper = request.app.state.gatekeeper
    try:
        found = await gatekeeper.key_of(request.scope, key)
    except Problem as problem:
        return locked(request, root, problem, wrong=True)
    now = gatekeeper.time()
    ends = min(now + settings.session_seconds, found.expires_at or float("inf"))
    answer = RedirectResponse(f"{root}/", 303)
    answer.set_cookie(
        COOKIE,
        session_of(found, proof_of(key.strip()), int(ends)),
        max_age=max(int(ends - now), 1),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path=root or "/",
    )
    note_session(request.scope, "session opened", found.name, 303)
    return answer


@router.post("/session/end", openapi_extra=needs("open"))
async def end_session(root: Root) -> Response:
    """Sign out: the browser forgets the cookie."""
    answer = RedirectResponse(f"{root}/", 303)
    answer.delete_cookie(COOKIE, path=root or "/", httponly=True, samesite="strict")
    return answer


def locked(request: Request, root: str, refused: Problem | None, *, wrong: bool) -> Response:
    """The page's question for a key; a cookie that opens nothing is taken back."""
    status = 401 if refused is None else refused.status
    said = refused.detail if refused is not None and (wrong or COOKIE in request.cookies) else None
    answer = render(request, "key.html", {"root": root, "said": said}, status)
    if refused is not None:
        answer.headers.update(refused.headers)
    if COOKIE in request.cookies and status == 401:
        answer.delete_cookie(COOKIE, path=root or "/", httponly=True, samesite="strict")
    return answer


@router.get("/favicon.ico", openapi_extra=needs("open"))
async def favicon(root: Root) -> Response:
    """Browsers ask for this whatever the page says."""
    return RedirectResponse(f"{root}/static/icon.svg", 308)


def look(
    here: Everything,
    query: PageQuery,
    picker: bool = True,
    following: Following | None = None,
    given: PendingImage | None = None,
    typing: bool = False,
) -> tuple[int, View]:
    """Status and view; whatever goes wrong becomes a view. ``picker``: with the list of collections.

    ``following``: who is told of a search before its end. ``given``: a picture that came with the request.
    ``typing``: what the text may be the beginning of is searched for by ITC alone.
    """
    parts, settings, root = here.parts, here.settings, here.root
    listed: Sequence[tuple[str, int]] = ()
    try:
        if picker or query.collection is None:  # counting every collection is not free
            listed = _collections(parts, here.access)
        collection = _choose(here, query, listed)
        if collection is None:
            return 200, empty_view(here, query)
        said = note_on_disk(collection.model)
        chips = chips_of(query, root, collection.name)
        base = View("home", query, collection, listed, chips=chips, note=said)
        if query.asks or given is not None:
            return 200, searched(here, base, following, given, typing)
        shown = members if query.saved else browsed
        return 200, shown(parts, base, root, settings.max_answer_bytes)
    except SightlineError as error:
        return _failed(error, query, listed, root)
    except Problem as problem:  # of a picture that came with the request
        return _refused(problem, View("error", query, collections=listed, chips=chips_of(query, root)))
    except Exception:
        log.exception("The page could not be made.")
        detail = "Something went wrong on the server; its log has the details."
        return 500, View("error", query, collections=listed, title="That did not work", detail=detail)


def empty_view(here: Everything, query: PageQuery, wanted_name: str = "pictures", detail: str = "") -> View:
    """Of an installation without collections: with what is needed to make one, for who may."""
    may_create = here.access.may("write") and here.access.collections is None
    offered = here.parts.served.here() if may_create else {}
    shown = [("" if is_default else model, shown_name(model)) for model, is_default in offered.items()]
    title = "No pictures yet"
    return View("void", query, title=title, offered=shown, wanted_name=wanted_name, detail=detail)


def _collections(parts: ApiParts, access: Access) -> list[tuple[str, int]]:
    seen = [one for one in parts.catalog.overview() if access.sees(one.collection.name)]
    return [(one.collection.name, one.counts["live"]) for one in seen]


def _choose(here: Everything, query: PageQuery, listed: Sequence[tuple[str, int]]) -> Collection | None:
    """The collection asked for, else the configured one, else the first with pictures in it."""
    parts, settings = here.parts, here.settings
    if query.collection is not None:
        here.access.require_collection(query.collection)
        return parts.catalog.collection(query.collection)
    names = [name for name, _ in listed]
    if settings.page_collection in names and settings.page_collection is not None:
        return parts.catalog.collection(settings.page_collection)
    filled = [name for name, images in listed if images] or names
    return parts.catalog.collection(filled[0]) if filled else None


def _refused(problem: Problem, base: View) -> tuple[int, View]:
    return problem.status, replace(base, title="That cannot be searched for", detail=problem.detail)


def _failed(
    error: SightlineError, query: PageQuery, listed: Sequence[tuple[str, int]], root: str
) -> tuple[int, View]:
    problem = from_error(error)
    titles = {
        404: "There is no such collection",
        422: "That cannot be searched for",
        503: "Not available now",
    }
    title = titles.get(problem.status, "That did not work")
    wrong_filter = isinstance(error, FilterError)
    if wrong_filter:
        title = "The filter cannot be read"
    elif problem.status == 404 and (query.saved or query.like):
        title = "That is not here"
    if isinstance(error, NotFoundError):
        query = PageQuery(text=query.text, collection=query.collection)
    note(error, problem)
    view = View(
        "error",
        query,
        collections=listed,
        chips=chips_of(query, root),
        title=title,
        detail=problem.detail,
        filter_error=problem.detail if wrong_filter else None,
    )
    return problem.status, view


def render(request: Request, template: str, context: dict[str, Any], status: int) -> Response:
    """A page of ours, with what keeps others' scripts out of it."""
    theme = unquote(request.cookies.get("theme", ""))
    assets: Assets = request.app.state.assets
    own = assets.context(str(request.scope.get("root_path", "")))
    context = context | own | {"theme": theme if theme in THEMES else ""}
    answer = templates.TemplateResponse(request, template, context, status)
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Vary"] = "X-Sightline-Part, Cookie"
    return answer
