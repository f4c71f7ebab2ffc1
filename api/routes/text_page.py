"""``/texts``: the page where a person looks through texts about pictures and decides, without scripts too."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import Everything, EverythingHere
from sightline.api.problems import Problem, from_error, note
from sightline.api.routes.page import locked, render
from sightline.api.sending import FileThreads
from sightline.api.text_view import TextQuery, TextView, broken_view, read_text_query, text_view
from sightline.errors import SightlineError
from sightline.store.text_records import Verdict
from sightline.store.values import MAX_ID_BYTES

router = APIRouter(include_in_schema=False, route_class=ScopedRoute)
TEXTS_AT_ONCE = 60


@router.get("/texts", response_class=HTMLResponse, openapi_extra=needs("open"))
async def texts(request: Request, here: EverythingHere) -> Response:
    """Texts of one collection."""
    threads: FileThreads = request.app.state.page_threads
    return await threads.run(lambda: _texts(request, here))


def _texts(request: Request, here: Everything) -> Response:
    refused: Problem | None = request.scope.get("refused")
    if not here.access.may("read"):
        return locked(request, here.root, refused, wrong=False)
    query = read_text_query(request.query_params)
    try:
        status, view = 200, _look(here, query)
    except SightlineError as error:
        problem = from_error(error)
        note(error, problem)
        status, view = problem.status, broken_view(query, "That did not work", problem.detail, here.root)
    context = {"view": view, "root": here.root, "writes": here.access.may("write")}
    return render(request, "texts.html", context, status)


def _look(here: Everything, query: TextQuery) -> TextView:
    here.access.require_collection(query.collection)
    catalog = here.parts.catalog
    collection = catalog.collection(query.collection)
    page = catalog.text_page(
        collection.id,
        verdict=cast("Verdict", query.verdict) if query.verdict else None,
        source=query.source or None,
        contains=query.contains or None,
        cursor=query.cursor or None,
        limit=TEXTS_AT_ONCE,
        most_bytes=here.settings.max_answer_bytes,
    )
    keys = list(dict.fromkeys(text.key for text in page.items))
    return text_view(
        query, page, catalog.describe(collection.id, keys), catalog.text_counts(collection.id), here.root
    )


@router.post("/texts/verdict", openapi_extra=needs("write"))
def decide(
    here: EverythingHere,
    collection: Annotated[str, Form(max_length=MAX_ID_BYTES)],
    text: Annotated[int, Form(ge=0, le=2**63 - 1)],
    verdict: Annotated[str, Form(pattern="^(kept|dropped|withdraw)$")],
    back: Annotated[str, Form(max_length=8000)] = "",
) -> Response:
    """A person's verdict, from the page's form; leads back to where it was given."""
    here.access.require_collection(collection)
    catalog = here.parts.catalog
    number = catalog.collection(collection).id
    if verdict == "withdraw":
        catalog.withdraw_overruling(number, text)
    else:
        catalog.overrule_text(number, text, cast("Verdict", verdict))
    return RedirectResponse(_own(back, here.root) or TextQuery(collection).url(here.root), 303)


def _own(back: str, root: str) -> str | None:
    """An address of this page, and of no other site."""
    return back if back.partition("?")[0] == f"{root}/texts" else None
