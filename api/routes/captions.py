"""``/v1/captions``: pictures that come with a request, in words."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import EverythingHere, problems
from sightline.api.discretion import shown_name
from sightline.api.documents import RequestPictures
from sightline.api.parts import ApiParts
from sightline.api.routes.search import as_json
from sightline.api.schemas.captions import CaptionAnswer, CaptionBody, CaptionedAnswer, CaptionsAnswer
from sightline.api.web_documents import decoded, fetch_documents, placed
from sightline.api.writers import served_captioner

router = APIRouter(prefix="/v1", tags=["captions"], route_class=ScopedRoute)


@router.post(
    "/captions",
    responses=problems(413, 422, 503),
    response_model=CaptionsAnswer,
    openapi_extra=needs("read"),
)
async def captions(body: CaptionBody, here: EverythingHere, request: Request) -> Response:
    """Describe pictures that come with the request."""
    request_id, pictures = request.scope["request_id"], here.pictures.of_request()
    return await here.threads.run(
        request.receive, lambda: as_json(describe(here.parts, pictures, body, request_id))
    )


def describe(
    parts: ApiParts, pictures: RequestPictures, body: CaptionBody, request_id: str
) -> CaptionsAnswer:
    """Fetch what is on the web, and caption each picture when its turn has come."""
    named = served_captioner(parts, None, body.model)
    documents = placed(body.documents)
    fetched = fetch_documents(documents, parts.fetcher)
    described = parts.describing.describe(
        (decoded(documents, index, pictures, fetched) for index in range(len(documents))),
        model=named.model,
        revision=named.revision,
        n=body.n,
        sampling=body.sampling,
        prompt=body.prompt,
        seed=body.seed,
    )
    results = [
        CaptionedAnswer(index=index, captions=[CaptionAnswer.of(one) for one in found])
        for index, found in enumerate(described)
    ]
    return CaptionsAnswer(id=request_id, model=shown_name(named.model), results=results)
