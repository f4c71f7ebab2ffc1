"""``/like``: the page for a picture that is dropped on it."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from starlette.responses import HTMLResponse

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import Everything, EverythingHere
from sightline.api.page_query import PageQuery, read_query
from sightline.api.query_pictures import given_picture, read_picture
from sightline.api.routes.page import PARTS, following_of, look, page_context, part_of, render
from sightline.api.routes.page_search import streamed
from sightline.api.search_events import Reader
from sightline.store.values import MAX_ID_BYTES

router = APIRouter(include_in_schema=False, route_class=ScopedRoute)


@router.post("/like", response_class=HTMLResponse, openapi_extra=needs("read"))
async def page_of_picture(
    request: Request,
    here: EverythingHere,
    image: Annotated[list[UploadFile], File()],
    q: Annotated[str, Form(max_length=10_000)] = "",
    collection: Annotated[str, Form(max_length=MAX_ID_BYTES)] = "",
    filter: Annotated[str, Form(max_length=20_000)] = "",
    k: Annotated[str, Form(max_length=10)] = "",
    candidates: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """The page, or its part as `page` has it, for a picture that is dropped on it: others like that one.

    The fields beside ``image`` are those of the page's address. No address leads here again.
    """
    told = {"q": q, "collection": collection, "filter": filter, "k": k, "candidates": candidates}
    query = read_query({name: value for name, value in told.items() if value}, here.settings)
    work = partial(_page_of, request, here, query, await read_picture(image))
    if part_of(request) == "events":
        return await streamed(request, here.threads, work)
    return await here.threads.run(request.receive, lambda: work(None))


def _page_of(
    request: Request, here: Everything, query: PageQuery, picture: bytes, reader: Reader | None
) -> Response:
    given = given_picture(picture, here.pictures.of_request())
    part = part_of(request) in PARTS
    following = following_of(request, here, reader)
    status, view = look(here, query, picker=not part, following=following, given=given)
    return render(request, "results.html" if part else "page.html", page_context(request, here, view), status)
