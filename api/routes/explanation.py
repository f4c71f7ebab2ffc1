"""``/v1/collections/{name}/images/{image_id}/explanation``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import EverythingHere, ImageIdHere, Name, problems
from sightline.api.routes.search import as_json
from sightline.api.schemas.common import storable_text
from sightline.api.schemas.explanation import ExplainedImageAnswer, explained_image_answer

router = APIRouter(prefix="/v1/collections/{name}/images", tags=["search"], route_class=ScopedRoute)
AskedText = Annotated[
    str,
    Query(
        description="What the picture should show.",
        examples=["a red car"],
        min_length=1,
        max_length=10_000,
        pattern=r"\S",
    ),
    AfterValidator(storable_text),
]


@router.get(
    "/{image_id}/explanation",
    responses=problems(404, 422, 503),
    response_model=ExplainedImageAnswer,
    openapi_extra=needs("read"),
)
async def explain_image(
    name: Name, image_id: ImageIdHere, text: AskedText, here: EverythingHere, request: Request
) -> Response:
    """Why an image matches a text: what each word contributed, and where in the picture it came from."""
    return await here.threads.run(
        request.receive,
        lambda: as_json(explained_image_answer(here.parts.search.explain(name, image_id, text), text)),
    )
