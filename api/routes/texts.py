"""``/v1/collections/{name}/captions``, ``/capfilt``, ``/texts``: what is said of images, and who decides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import AccessHere, Name, PartsHere, Root, SettingsHere, problems
from sightline.api.parts import ApiParts
from sightline.api.routes.collections import served_model
from sightline.api.routes.jobs import answer_of, job_here
from sightline.api.schemas.common import MAX_CURSOR, Text
from sightline.api.schemas.jobs import JobAnswer
from sightline.api.schemas.texts import (
    CapFiltAnswer,
    NewCapFilt,
    NewCaptions,
    NewVerdict,
    TextAnswer,
    TextList,
    capfilt_answer,
    text_answer,
    text_list,
)
from sightline.api.urls import job_url
from sightline.api.writers import served_captioner
from sightline.captioner.histograms import histogram_png
from sightline.captioner.thresholds import Threshold
from sightline.indexer.listings import Listings
from sightline.serving.writers import NamedModel
from sightline.store.records import Job
from sightline.store.text_records import Verdict

router = APIRouter(prefix="/v1/collections/{name}", tags=["texts"], route_class=ScopedRoute)
EXPORTED_AT_ONCE = 200
TextId = Annotated[int, Path(ge=0, le=2**63 - 1, description="The text's id.")]
JobAsked = Annotated[str | None, Query(max_length=200, description="Of this job only; else of all texts.")]


@router.post(
    "/captions", status_code=202, responses=problems(403, 404, 422, 503), openapi_extra=needs("write")
)
def start_captions(
    name: Name, body: NewCaptions, parts: PartsHere, root: Root, request: Request, response: Response
) -> JobAnswer:
    """Write captions for the images of a collection. Answers at once; workers do it."""
    writer = writer_here(parts, name, body.model, "/model")
    with _listings(request).place() as enter:
        job = parts.captioning.begin(
            name,
            model=writer.model,
            revision=writer.revision,
            n=body.n,
            sampling=body.sampling,
            prompt=body.prompt,
            filter=body.filter,
            ids=body.ids,
            listed=False,
        )
        enter(job.id)
    return _begun(parts, job, root, request, response)


@router.post(
    "/capfilt", status_code=202, responses=problems(403, 404, 422, 503), openapi_extra=needs("write")
)
def start_capfilt(
    name: Name, body: NewCapFilt, parts: PartsHere, root: Root, request: Request, response: Response
) -> JobAnswer:
    """Judge the texts of a collection's images, and captions written for them; drop what does not match."""
    writer = writer_here(parts, name, body.captioner, "/captioner") if body.n else None
    with _listings(request).place() as enter:
        job = parts.capfilt.begin(
            name,
            captioner=None if writer is None else writer.model,
            revision=None if writer is None else writer.revision,
            n=body.n,
            prompt=body.prompt,
            threshold=None if body.keep_above is None else Threshold(body.keep_above),
            text_fields=body.text_fields,
            filter=body.filter,
            ids=body.ids,
            listed=False,
        )
        enter(job.id)
    return _begun(parts, job, root, request, response)


@router.get("/capfilt", responses=problems(404, 422), openapi_extra=needs("read"))
def report(name: Name, parts: PartsHere, access: AccessHere, job: JobAsked = None) -> CapFiltAnswer:
    """What was kept and dropped: of one job, or of all texts."""
    if job is not None:
        job_here(parts, access, job)
    return capfilt_answer(parts.capfilt.report(name, job))


@router.get(
    "/capfilt/histogram.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **problems(404, 422, 503)},
    openapi_extra=needs("read"),
)
def histogram(name: Name, parts: PartsHere, access: AccessHere, job: JobAsked = None) -> Response:
    """Match probabilities of kept and dropped texts, as a picture."""
    if job is not None:
        job_here(parts, access, job)
    png = histogram_png(parts.capfilt.report(name, job))
    return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})


@router.get("/texts", responses=problems(404, 422), openapi_extra=needs("read"))
def list_texts(
    name: Name,
    parts: PartsHere,
    settings: SettingsHere,
    verdict: Annotated[Verdict | None, Query(description="Only texts with this verdict.")] = None,
    source: Annotated[
        Text | None, Query(max_length=200, description="Only given, metadata.FIELD, or captioner.")
    ] = None,
    overruled: Annotated[bool | None, Query(description="Only those that a person decided, or not.")] = None,
    contains: Annotated[
        Text | None, Query(max_length=200, description="Only texts with these words.")
    ] = None,
    cursor: Annotated[
        str | None, Query(max_length=MAX_CURSOR, description="next_cursor of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> TextList:
    """Texts about the images of a collection, page by page."""
    number, most = parts.catalog.collection(name).id, settings.max_answer_bytes
    page = parts.catalog.text_page(number, verdict, source, overruled, contains, cursor, limit, most)
    return text_list(page)


@router.put("/texts/{text}/verdict", responses=problems(404, 422), openapi_extra=needs("write"))
def overrule(name: Name, text: TextId, body: NewVerdict, parts: PartsHere) -> TextAnswer:
    """Decide about a text. No job changes that; a job that runs again leaves it as it is."""
    number = parts.catalog.collection(name).id
    return text_answer(parts.catalog.overrule_text(number, text, body.verdict))


@router.delete("/texts/{text}/verdict", responses=problems(404, 422), openapi_extra=needs("write"))
def withdraw(name: Name, text: TextId, parts: PartsHere) -> TextAnswer:
    """Take the decision back: the text is unjudged until a job judges it again."""
    return text_answer(parts.catalog.withdraw_overruling(parts.catalog.collection(name).id, text))


@router.get(
    "/texts/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}}, **problems(404, 422)},
    openapi_extra=needs("read"),
)
def export(
    name: Name,
    parts: PartsHere,
    dropped: Annotated[bool, Query(description="Dropped texts too.")] = False,
) -> StreamingResponse:
    """Every kept text as a line of JSON, in the order in which they came to be."""
    number = parts.catalog.collection(name).id
    return StreamingResponse(_lines(parts, number, dropped), media_type="application/x-ndjson")


def _lines(parts: ApiParts, number: int, dropped: bool) -> Iterator[str]:
    verdicts: tuple[Verdict, ...] = ("kept", "dropped") if dropped else ("kept",)
    after = 0
    while texts := parts.catalog.iter_texts(number, verdicts, after, EXPORTED_AT_ONCE):
        after = texts[-1].id
        yield "".join(json.dumps(text_answer(one).model_dump(mode="json")) + "\n" for one in texts)


def writer_here(parts: ApiParts, name: str, asked: str | None, pointer: str) -> NamedModel:
    """The captioner for a collection.

    403 for one that this server does not serve; InputError when none is set.
    """
    collection = parts.catalog.collection(name)
    if asked is None:
        return served_captioner(parts, collection, None)
    served = served_model(asked, None, parts, pointer)
    return NamedModel(served.model, served.revision)


def _listings(request: Request) -> Listings:
    listings: Listings = request.app.state.listings
    return listings


def _begun(parts: ApiParts, job: Job, root: str, request: Request, response: Response) -> JobAnswer:
    request.scope["job_id"] = job.id
    response.headers["Location"] = job_url(job.id, root)
    return answer_of(parts, job.id, root)
