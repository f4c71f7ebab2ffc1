"""``/rerank`` and ``/score`` under all their names, and ``/v1/models``: for clients made for others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from sightline.api.access import Access, ScopedRoute, needs
from sightline.api.dependencies import EverythingHere, problems
from sightline.api.discretion import shown_name
from sightline.api.documents import RequestPictures
from sightline.api.foreign_models import named_model, stood_in
from sightline.api.parts import ApiParts
from sightline.api.routes.search import as_json
from sightline.api.schemas.accepted import MetaAnswer, UsageAnswer
from sightline.api.schemas.documents import StoredDocument
from sightline.api.schemas.rerank import RerankAnswer, RerankBody, RerankedAnswer
from sightline.api.schemas.score import (
    ModelAnswer,
    ModelsAnswer,
    ScoreAnswer,
    ScoreBody,
    ScoredAnswer,
    TextSide,
)
from sightline.api.web_documents import Placed, fetch_documents, placed, to_score
from sightline.rerank_records import RerankRequest, RerankResult, ScoreRequest

router = APIRouter(tags=["rerank"], route_class=ScopedRoute)
WRONG: Final = problems(404, 409, 413, 422, 503)
MOST_REPEATED: Final = 8_192
"""Characters of a document that is repeated: some clients ask for all by default, and would get megabytes."""
NOT_REPEATED: Final = (
    f"Documents of more than {MOST_REPEATED:,} characters are not repeated; their index says which they are."
)


@router.post("/rerank", responses=WRONG, response_model=RerankAnswer, openapi_extra=needs("read"))
@router.post("/v1/rerank", responses=WRONG, response_model=RerankAnswer, openapi_extra=needs("read"))
@router.post("/v2/rerank", responses=WRONG, response_model=RerankAnswer, openapi_extra=needs("read"))
async def rerank(body: RerankBody, here: EverythingHere, request: Request) -> Response:
    """Order pictures by a sentence, by ITM alone. The shape is that of Cohere, Jina, vLLM and Elastic."""
    request_id, pictures = request.scope["request_id"], here.pictures.of_request()
    documents = placed(body.documents)
    check_collections(documents, here.access)
    return await here.threads.run(
        request.receive, lambda: _sent(run_rerank(here.parts, pictures, body, documents, request_id))
    )


@router.post("/score", responses=WRONG, response_model=ScoreAnswer, openapi_extra=needs("read"))
@router.post("/v1/score", responses=WRONG, response_model=ScoreAnswer, openapi_extra=needs("read"))
async def score(body: ScoreBody, here: EverythingHere, request: Request) -> Response:
    """Score pairs of a text and a picture by ITM. The shape is vLLM's."""
    request_id, pictures = request.scope["request_id"], here.pictures.of_request()
    texts, documents = sides_of(body)
    check_collections(documents, here.access)
    return await here.threads.run(
        request.receive, lambda: as_json(run_score(here.parts, pictures, body, texts, documents, request_id))
    )


@router.get("/v1/models", response_model=ModelsAnswer, openapi_extra=needs("read"))
async def models(here: EverythingHere) -> Response:
    """The default model: clients of vLLM ask for its name before they score."""
    default = here.parts.served.find(None)
    data = [] if default is None else [ModelAnswer(id=shown_name(default.model))]
    return as_json(ModelsAnswer(data=data))


def check_collections(documents: Sequence[Placed], access: Access) -> None:
    """404 for stored documents of a collection that the key is not for, as if it did not exist."""
    stored = (one.document for one in documents)
    for name in sorted({one.collection for one in stored if isinstance(one, StoredDocument)}):
        access.require_collection(name)


def run_rerank(
    parts: ApiParts,
    pictures: RequestPictures,
    body: RerankBody,
    documents: Sequence[Placed],
    request_id: str,
) -> RerankAnswer:
    """Fetch what is on the web, score, and put it in the shape that clients know."""
    given = to_score(documents, pictures, fetch_documents(documents, parts.fetcher))
    named = named_model(parts.served, body.model)
    response = parts.documents.rerank(RerankRequest(body.query, given, body.top_n or None, named))
    echoes = [_echo(body, documents[one.index]) for one in response.results]
    results = [_result(body, one, echo) for one, echo in zip(response.results, echoes, strict=True)]
    model = shown_name(response.model)
    warnings = [*stood_in(body.model, named, model), *body.warnings()]
    if body.return_documents and None in echoes:
        warnings.append(NOT_REPEATED)
    return RerankAnswer.of(
        response,
        id=request_id,
        model=model,
        results=results,
        usage=UsageAnswer(prompt_tokens=0, total_tokens=0),
        meta=MetaAnswer(warnings=warnings),
    )


def sides_of(body: ScoreBody) -> tuple[tuple[str, ...], list[Placed]]:
    """The texts and the pictures of a score: one of either, or as many of both."""
    texts, documents = [], []
    for pair in body.pairs():
        for side, pointer in pair:
            if isinstance(side, TextSide):
                texts.append(side.root)
            else:
                documents.append(Placed(side, pointer))
    if len(body.queries) == 1:  # it was paired with each of the others, and is scored once
        is_text = isinstance(body.queries[0], TextSide)
        texts, documents = (texts[:1], documents) if is_text else (texts, documents[:1])
    return tuple(texts), documents


def run_score(
    parts: ApiParts,
    pictures: RequestPictures,
    body: ScoreBody,
    texts: tuple[str, ...],
    documents: Sequence[Placed],
    request_id: str,
) -> ScoreAnswer:
    """As `run_rerank`, in vLLM's shape."""
    given = to_score(documents, pictures, fetch_documents(documents, parts.fetcher))
    named = named_model(parts.served, body.model)
    response = parts.documents.score(ScoreRequest(texts, given, named))
    model = shown_name(response.model)
    return ScoreAnswer.of(
        response,
        id=request_id,
        object="list",
        created=int(time.time()),
        model=model,
        data=[ScoredAnswer(index=one.index, score=relevance(body, one)) for one in response.results],
        usage=UsageAnswer(prompt_tokens=0, total_tokens=0),
        meta=MetaAnswer(warnings=[*stood_in(body.model, named, model), *body.warnings()]),
    )


def relevance(body: RerankBody | ScoreBody, result: RerankResult) -> float:
    """What a client is given as the one number of a pair."""
    return result.itm_logit if body.use_activation is False else result.match_probability


def _result(body: RerankBody, found: RerankResult, echo: dict[str, Any] | None) -> RerankedAnswer:
    score = relevance(body, found)
    return RerankedAnswer(
        index=found.index,
        relevance_score=score,
        itm_logit=found.itm_logit,
        match_probability_raw=found.match_probability_raw,
        **({} if echo is None else {"document": echo}),
    )


def _sent(answer: RerankAnswer) -> Response:
    """Without documents that are not repeated: some clients refuse a null there."""
    return Response(answer.model_dump_json(exclude_unset=True), media_type="application/json")


def _echo(body: RerankBody, one: Placed) -> dict[str, Any] | None:
    """A document in the shape that its client expects; None where it is not asked for, or too long."""
    return one.document.echo() if body.return_documents and len(one.uri) <= MOST_REPEATED else None
