"""``/v1/collections/{name}/search/batch``: many searches, one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request, Response

from sightline.api.access import Access, ScopedRoute, needs
from sightline.api.dependencies import Everything, EverythingHere, Name, problems
from sightline.api.discretion import sentence
from sightline.api.problems import Problem, document, from_error, invalid, note
from sightline.api.query_pictures import check_picture
from sightline.api.routes.search import check_candidates, matcher_of, observe
from sightline.api.schemas.common import ProblemDocument
from sightline.api.schemas.query_pictures import StoredPicture
from sightline.api.schemas.search import search_answer
from sightline.api.schemas.search_batch import BatchAnswer, BatchBody, BatchItem
from sightline.api.schemas.search_body import SearchBody
from sightline.api.settings import ApiSettings
from sightline.errors import FilterError, InputError
from sightline.records import SearchRequest
from sightline.rerank_records import StoredImage
from sightline.searching.checks import check
from sightline.searching.count_checks import is_counted
from sightline.store.filters import parse_filter

router = APIRouter(prefix="/v1", tags=["search"], route_class=ScopedRoute)
Charge = Callable[[int], None]
"""Counts so many more searches of this client; raises Problem (429) when it asks too much."""


@router.post(
    "/collections/{name}/search/batch",
    responses=problems(404, 413, 422, 503),
    response_model=BatchAnswer,
    openapi_extra=needs("read"),
)
async def search_batch(name: Name, body: BatchBody, here: EverythingHere, request: Request) -> Response:
    """Many searches, one answer: texts are encoded together, then each is answered as if it were alone."""
    check_size(body.searches, here.settings)
    for place, one in enumerate(body.searches):
        check_search(place, one, here.settings, here.access)
    charge: Charge | None = request.scope.get("charge")
    if charge is not None:
        charge(len(body.searches) - 1)
    path, request_id = request.url.path, request.scope.get("request_id")

    def answer() -> Response:
        asked = [_request(here, name, place, one) for place, one in enumerate(body.searches)]
        return Response(answered(here, name, asked, path, request_id), media_type="application/json")

    return await here.threads.run(request.receive, answer)


def answered(
    here: Everything, name: str, asked: Sequence[SearchRequest], path: str, request_id: str | None
) -> str:
    """The answer as JSON, each item written as it comes.

    Raises:
        Problem: 422 when all of them together repeat too much.
    """
    here.parts.catalog.collection(name)  # 404 for all, and not for each
    items: list[str] = []
    size = failed = 0
    for outcome in here.parts.search.try_many(asked):
        if outcome.error is not None:
            problem = from_error(outcome.error)
            note(outcome.error, problem)
            told = ProblemDocument.model_validate(document(problem, path, request_id))
            item, failed = BatchItem(answer=None, problem=told), failed + 1
        else:
            response = outcome.answered()
            observe(here.metrics, response)
            item = BatchItem(answer=search_answer(response, name, here.root), problem=None)
        items.append(item.model_dump_json())
        size += len(items[-1])
        if size > here.settings.max_answer_bytes:
            raise _too_much(here.settings)
    return f'{{"answers":[{",".join(items)}],"failed":{failed}}}'


def check_size(searches: Sequence[SearchBody], settings: ApiSettings) -> None:
    """422 beyond what this installation does for one request."""
    if len(searches) > settings.max_batch_searches:
        raise invalid(
            "/searches",
            f"One batch may hold at most {settings.max_batch_searches:,} searches on this server.",
        )
    candidates = sum(one.candidates * _clauses(one) for one in searches if one.rerank)
    for what, asked in (("candidates", candidates), ("hits", sum(one.limit for one in searches))):
        if asked > settings.max_batch_candidates:
            raise invalid(
                "/searches",
                f"The searches of one batch may have at most {settings.max_batch_candidates:,} {what}, and "
                f"these have {asked:,} together: send fewer at once.",
            )


def check_search(place: int, one: SearchBody, settings: ApiSettings, access: Access) -> None:
    """422 for what a batch does not take; 404 for a picture of a collection that the key is not for."""
    pointer = f"/searches/{place}"
    try:
        check_candidates(one.candidates, settings, _clauses(one))
    except Problem as problem:
        raise invalid(f"{pointer}/candidates", problem.detail) from problem
    if one.image is not None and not isinstance(one.image, StoredPicture):
        raise invalid(
            f"{pointer}/image", 'In a batch a picture is one that is stored, {"id": …}; send others alone.'
        )
    check_picture(one.image, access)


def _request(here: Everything, name: str, place: int, one: SearchBody) -> SearchRequest:
    """What is searched for. Raises Problem: 422 for what could not be answered in any collection."""
    pointer = f"/searches/{place}"
    image = None
    if isinstance(one.image, StoredPicture):
        image = StoredImage(one.image.collection or name, one.image.id)
    try:
        request = one.to_request(name, matcher_of(here.parts, name, one), image)
        check(request)
        if request.filter is not None:
            parse_filter(request.filter)
    except FilterError as error:
        raise invalid(f"{pointer}/filter", sentence(error)) from error
    except InputError as error:
        raise invalid(pointer, sentence(error)) from error
    if is_counted(request):
        raise invalid(pointer, "A search that counts (sort, exact, cursor) is asked alone, not in a batch.")
    return request


def _clauses(one: SearchBody) -> int:
    return 1 if one.query is None else one.query.clauses


def _too_much(settings: ApiSettings) -> Problem:
    return invalid(
        "/searches",
        f"The answers of this batch have more than {settings.max_answer_bytes:,} bytes: send fewer searches "
        "at once, or ask for fewer hits (limit).",
    )
