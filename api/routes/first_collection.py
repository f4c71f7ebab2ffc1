"""``/collection``: the page's form for a first collection, which works without a script."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from pydantic import ValidationError
from starlette.responses import RedirectResponse

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import Everything, EverythingHere
from sightline.api.page_query import PageQuery
from sightline.api.problems import Problem, from_error, note
from sightline.api.routes.collections import make_collection
from sightline.api.routes.page import empty_view, page_context, render
from sightline.api.schemas.collections import NewCollection
from sightline.errors import SightlineError

router = APIRouter(include_in_schema=False, route_class=ScopedRoute)
NAMES = (
    "A collection's name has up to 63 letters, digits, dots, hyphens and underscores, "
    "and begins with a letter or a digit."
)


@router.post("/collection", openapi_extra=needs("write", everywhere=True))
async def create(
    request: Request,
    here: EverythingHere,
    name: Annotated[str, Form(max_length=1000)] = "",
    model: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Create it and show it, or say beside the form why not."""
    # As POST /v1/collections: telling the model may take a while.
    return await here.threads.run(request.receive, lambda: _create(request, here, name.strip(), model))


def _create(request: Request, here: Everything, name: str, model: str) -> Response:
    try:
        answer, _ = make_collection(NewCollection(name=name, model=model or None, revision=None), here.parts)
    except ValidationError:
        problem = Problem(422, NAMES)
    except Problem as found:
        problem = found
    except SightlineError as error:
        problem = from_error(error)
        note(error, problem)
    else:
        return RedirectResponse(PageQuery(collection=answer.name).url(here.root), 303)
    view = empty_view(here, PageQuery(), name, problem.detail)
    return render(request, "page.html", page_context(request, here, view), problem.status)
