"""``/v1/collections/{name}/search``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from pydantic import ValidationError

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import Everything, EverythingHere, Name, problems
from sightline.api.metrics import Metrics
from sightline.api.parts import ApiParts
from sightline.api.problems import invalid, place_of
from sightline.api.pushing import Pushed
from sightline.api.query_pictures import check_picture, given_picture, query_picture, read_picture
from sightline.api.schemas.common import Answer
from sightline.api.schemas.search import SearchAnswer, search_answer
from sightline.api.schemas.search_body import SearchBody, SearchOptions
from sightline.api.search_events import JsonShape, SearchEvents
from sightline.api.settings import ApiSettings
from sightline.api.streaming import Event, EventStream
from sightline.api.writers import served_answerer
from sightline.errors import NotJsonError
from sightline.records import InstructedMatcher, SearchRequest, SearchResponse
from sightline.searching.telling import SearchWatch
from sightline.store.json_text import read_json

router = APIRouter(prefix="/v1", tags=["search"], route_class=ScopedRoute)
EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["candidates", "order", "result", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
AS_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `?stream=1` server-sent events: `candidates` (the answer by ITC alone, before "
        "ITM begins), `order` (the hits as they stand while ITM scores: `{scored, of, order, hits}`), "
        "`result` (the answer as it is without `stream`), or `error` (a problem document).",
        "content": {"text/event-stream": {"schema": EVENT}},
    }
}
OPTIONS = 'JSON with the other fields of a search: {"text": "at night", "limit": 20}.'
Stream = Annotated[
    bool, Query(description="Server-sent events: ITC's answer at once, then ITM's order as it comes.")
]


@router.post(
    "/collections/{name}/search",
    responses=AS_EVENTS | problems(404, 422, 503),
    response_model=SearchAnswer,
    openapi_extra=needs("read"),
)
async def search(
    name: Name, body: SearchBody, here: EverythingHere, request: Request, stream: Stream = False
) -> Response:
    """Find pictures by words (ITC retrieves, ITM puts in order), by a picture, or by both."""
    check_candidates(body.candidates, here.settings, 1 if body.query is None else body.query.clauses)
    check_picture(body.image, here.access)
    pictures = here.pictures.of_request()

    def asked() -> SearchRequest:
        image = query_picture(body.image, name, pictures, here.parts.fetcher)
        return body.to_request(name, matcher_of(here.parts, name, body), image)

    return await answered(request, here, name, asked, stream)


@router.post(
    "/collections/{name}/search/image",
    responses=AS_EVENTS | problems(404, 413, 422, 503),
    response_model=SearchAnswer,
    openapi_extra=needs("read"),
)
async def search_by_upload(
    name: Name,
    here: EverythingHere,
    request: Request,
    image: Annotated[list[UploadFile], File(description="The one picture that is asked with.")],
    search: Annotated[str, Form(description=OPTIONS)] = "{}",
    stream: Stream = False,
) -> Response:
    """Find pictures like one that is uploaded, with words beside it or without. It is not kept."""
    options = read_options(search)
    check_candidates(options.candidates, here.settings, 1 if options.query is None else options.query.clauses)
    data, pictures = await read_picture(image), here.pictures.of_request()

    def asked() -> SearchRequest:
        given = given_picture(data, pictures)
        return options.to_request(name, matcher_of(here.parts, name, options), given)

    return await answered(request, here, name, asked, stream)


async def answered(
    request: Request, here: Everything, name: str, asked: Callable[[], SearchRequest], stream: bool
) -> Response:
    """The answer as JSON, or as events. ``asked`` is called in the thread that searches."""

    def answer(watch: SearchWatch | None = None) -> SearchAnswer:
        return search_answer(run_search(here.parts, here.metrics, asked(), watch), name, here.root)

    if not stream:
        return await here.threads.run(request.receive, lambda: as_json(answer()))

    def work(pushed: Pushed) -> None:
        watch = SearchEvents(pushed, JsonShape(name, here.root))
        pushed.push(Event("result", answer(watch).model_dump_json()))

    pushed = Pushed(here.threads, request.app.state.followers, work)
    return EventStream(request, await pushed.first(request.receive), pushed)


def as_json(answer: Answer) -> Response:
    """Written here, once: the framework would check an answer that was made by its own schema again."""
    return Response(answer.model_dump_json(), media_type="application/json")


def read_options(text: str) -> SearchOptions:
    """What stands beside an uploaded picture. Raises Problem: it is no JSON, or does not fit."""
    try:
        options: SearchOptions = SearchOptions.model_validate(read_json(text))
    except NotJsonError as wrong:
        raise invalid("/search", f"The field search is not valid JSON: {wrong}") from wrong
    except ValidationError as error:
        place, detail = place_of(error.errors(include_url=False, include_input=False)[0])
        raise invalid(f"/search{place}", f"{place or 'search'}: {detail.removesuffix('.')}.") from error
    return options


def matcher_of(parts: ApiParts, name: str, body: SearchOptions) -> InstructedMatcher | None:
    """Who orders the candidates instead of ITM, by a model that is served here."""
    if body.matcher is None:
        return None
    named = served_answerer(parts, parts.catalog.collection(name), body.matcher.model)
    return InstructedMatcher(body.matcher.instruction, named.model, named.revision)


def check_candidates(candidates: int, settings: ApiSettings, clauses: int = 1) -> None:
    """422 beyond what this installation scores for one search: each clause is scored for itself."""
    if candidates * clauses > settings.max_candidates:
        each = "" if clauses == 1 else f" of a search with {clauses} clauses"
        most = settings.max_candidates // clauses
        raise invalid("/candidates", f"This server scores at most {most:,} candidates{each}.")


def run_search(
    parts: ApiParts, metrics: Metrics, request: SearchRequest, watch: SearchWatch | None = None
) -> SearchResponse:
    """Search and count it; ``watch`` is told how it gets on."""
    response = parts.search.find(request, watch)
    observe(metrics, response)
    return response


def observe(metrics: Metrics, response: SearchResponse) -> None:
    """Count one search that was answered."""
    seen = [hit.match_probability for hit in response.results if hit.match_probability is not None]
    metrics.observe_search(response.timings, response.scored, max(seen, default=None))
