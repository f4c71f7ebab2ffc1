"""``/v1/collections/{name}/search`` and ``/v1/rerank``."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from sightline.api.dependencies import EverythingHere, Name, problems
from sightline.api.documents import RequestPictures
from sightline.api.metrics import Metrics
from sightline.api.parts import ApiParts
from sightline.api.problems import Problem, invalid
from sightline.api.schemas.common import Answer
from sightline.api.schemas.rerank import RerankAnswer, RerankBody, RerankedAnswer, StoredDocument
from sightline.api.schemas.search import SearchAnswer, SearchBody, search_answer
from sightline.api.settings import ApiSettings
from sightline.records import (
    PendingImage,
    RerankDocument,
    RerankRequest,
    SearchRequest,
    SearchResponse,
    StoredImage,
)

router = APIRouter(prefix="/v1", tags=["search"])


@router.post("/collections/{name}/search", responses=problems(404, 422, 503), response_model=SearchAnswer)
async def search(name: Name, body: SearchBody, here: EverythingHere, request: Request) -> Response:
    """Find pictures by a sentence: ITC retrieves the candidates, ITM puts them in order."""
    check_candidates(body.candidates, here.settings)

    def work() -> Response:
        response = run_search(here.parts, here.metrics, body.to_request(name))
        return as_json(search_answer(response, name, here.root))

    return await here.threads.run(request.receive, work)


@router.post("/rerank", responses=problems(404, 409, 413, 422, 503), response_model=RerankAnswer)
async def rerank(body: RerankBody, here: EverythingHere, request: Request) -> Response:
    """Score pictures against a sentence by ITM alone. The shape is that of Cohere, Jina and vLLM."""
    most, request_id = here.settings.max_documents, request.scope["request_id"]
    if len(body.documents) > most:
        raise Problem(413, f"One request may bring at most {most:,} documents.")
    pictures = here.pictures.of_request()
    return await here.threads.run(
        request.receive, lambda: as_json(run_rerank(here.parts, pictures, body, request_id))
    )


def as_json(answer: Answer) -> Response:
    """Written here, once: the framework would check an answer that was made by its own schema again."""
    return Response(answer.model_dump_json(), media_type="application/json")


def run_rerank(parts: ApiParts, pictures: RequestPictures, body: RerankBody, request_id: str) -> RerankAnswer:
    """Score, and put it in the shape that clients know."""
    asked = RerankRequest(body.query, documents_of(body, pictures), body.top_n, body.model)
    response = parts.documents.rerank(asked)
    results = [
        RerankedAnswer.of(
            result, relevance_score=result.match_probability, document=_echo(body, result.index)
        )
        for result in response.results
    ]
    return RerankAnswer.of(response, id=request_id, results=results)


def check_candidates(candidates: int, settings: ApiSettings) -> None:
    """422 beyond what this installation scores for one search."""
    if candidates > settings.max_candidates:
        raise invalid("/candidates", f"This server scores at most {settings.max_candidates:,} candidates.")


def run_search(parts: ApiParts, metrics: Metrics, request: SearchRequest) -> SearchResponse:
    """Search and count it."""
    response = parts.search.find(request)
    seen = [hit.match_probability for hit in response.results if hit.match_probability is not None]
    metrics.observe_search(response.timings, response.scored, max(seen, default=None))
    return response


def documents_of(body: RerankBody, pictures: RequestPictures) -> tuple[RerankDocument, ...]:
    """The documents; a picture is decoded when its turn comes to be scored, after the request was let in."""
    return tuple(
        StoredImage(document.collection, document.id)
        if isinstance(document, StoredDocument)
        else PendingImage(partial(pictures.rgb, index, document.uris()[0]))
        for index, document in enumerate(body.documents)
    )


def _echo(body: RerankBody, index: int) -> dict[str, str] | None:
    document = body.documents[index]
    if not body.return_documents or not isinstance(document, StoredDocument):
        return None
    return {"id": document.id, "collection": document.collection}
