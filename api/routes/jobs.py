"""``/v1/jobs``: server-side sources, progress by polling or as server-sent events, cancel and retry."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated

import anyio
from fastapi import APIRouter, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from sightline.api.access import Access, ScopedRoute, hidden, needs
from sightline.api.dependencies import AccessHere, JobId, Name, PartsHere, Root, SettingsHere, problems
from sightline.api.discretion import Shown, shown
from sightline.api.followers import FollowerStream
from sightline.api.following import Following, Seen
from sightline.api.labels import printable
from sightline.api.parts import ApiParts
from sightline.api.problems import Problem
from sightline.api.schemas.jobs import ErrorList, JobAnswer, JobList, NewJob, error_list, job_answer
from sightline.api.urls import job_url
from sightline.captioner.plans import CAPFILT, CAPTION
from sightline.errors import ConflictError, NotFoundError
from sightline.indexer.listings import Listings
from sightline.indexer.roots import Roots
from sightline.store.records import ENDED, Job
from sightline.store.values import MAX_ID_BYTES

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=ScopedRoute)
log = logging.getLogger("sightline.http")


@router.post(
    "/collections/{name}/jobs",
    status_code=202,
    responses=problems(403, 404, 422, 503),
    openapi_extra=needs("write"),
)
def start_job(
    name: Name,
    body: NewJob,
    parts: PartsHere,
    settings: SettingsHere,
    root: Root,
    request: Request,
    response: Response,
) -> JobAnswer:
    """Index what the server can read. Answers at once; listing, hashing and embedding go on behind it."""
    parts.catalog.collection(name)
    check_sources(body.sources, settings.source_roots)
    listings: Listings = request.app.state.listings
    with listings.place() as enter:
        job = parts.indexer.begin(
            body.sources,
            name,
            copy=body.copy_originals,
            prune=body.prune,
            prune_limit=body.limit(),
            id_prefix=body.id_prefix,
            moved_from=body.moved_from,
            roots=settings.source_roots,
        )
        request.scope["job_id"] = job.id
        response.headers["Location"] = job_url(job.id, root)
        enter(job.id)
        return answer_of(parts, job.id, root)


@router.get("/jobs", responses=problems(404, 422), openapi_extra=needs("read"))
def list_jobs(
    parts: PartsHere,
    root: Root,
    access: AccessHere,
    collection: Annotated[
        str | None, Query(max_length=MAX_ID_BYTES, description="Only this collection's.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> JobList:
    """The newest jobs first."""
    if collection is not None:
        access.require_collection(collection)
    jobs = parts.catalog.jobs(collection, limit, access.among())
    items = []
    for job in jobs:
        with suppress(NotFoundError):  # purged meanwhile
            items.append(answer_of(parts, job.id, root, errors=0))
    return JobList(items=items)


@router.get("/jobs/{job_id}", responses=problems(404), openapi_extra=needs("read"))
def get_job(job_id: JobId, parts: PartsHere, root: Root, access: AccessHere) -> JobAnswer:
    """One job: its counts, and its first 100 failures; `errors_url` has them all."""
    job_here(parts, access, job_id)
    return answer_of(parts, job_id, root)


@router.get("/jobs/{job_id}/errors", responses=problems(404, 422), openapi_extra=needs("read"))
def list_errors(
    job_id: JobId,
    parts: PartsHere,
    access: AccessHere,
    cursor: Annotated[str | None, Query(max_length=40, description="next_cursor of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ErrorList:
    """All failures of a job, page by page."""
    job = job_here(parts, access, job_id)
    return error_list(job, parts.catalog.job_error_page(job_id, cursor, limit))


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventSourceResponse,
    responses=problems(404, 503),
    openapi_extra=needs("read"),
)
async def follow_job(
    job_id: JobId, parts: PartsHere, root: Root, access: AccessHere, request: Request
) -> EventSourceResponse:
    """Server-sent events: ``progress`` (a job, as GET answers it) whenever it changed, at last ``done``."""
    await run_in_threadpool(job_here, parts, access, job_id)
    stops = anyio.Event()
    following: Following = request.app.state.following
    sees = shown.get()
    look = partial(_look, parts, root, sees)

    async def events() -> AsyncGenerator[ServerSentEvent]:
        async for seen in following.follow(job_id, (root, sees), look, stops):
            yield ServerSentEvent(seen.text, event="done" if seen.ended else "progress")

    return FollowerStream(request, events(), stops)


@router.post("/jobs/{job_id}/cancel", responses=problems(404, 409), openapi_extra=needs("write"))
def cancel_job(job_id: JobId, parts: PartsHere, root: Root, access: AccessHere) -> JobAnswer:
    """Stop a job: what was published stays, the rest is dropped."""
    job_here(parts, access, job_id)
    parts.catalog.cancel_job(job_id)
    return answer_of(parts, job_id, root)


@router.post(
    "/jobs/{job_id}/retry", status_code=202, responses=problems(404, 409), openapi_extra=needs("write")
)
def retry_job(job_id: JobId, parts: PartsHere, root: Root, access: AccessHere) -> JobAnswer:
    """Try the failed images of a job again."""
    job_here(parts, access, job_id)
    return answer_of(parts, parts.indexer.retry(job_id).id, root)


def job_here(parts: ApiParts, access: Access, job_id: str) -> Job:
    """The job; when the key is not for its collection there is none, as for any other id."""
    job = parts.catalog.job(job_id)
    if not access.sees(job.collection):
        hidden(f"There is no job {job_id!r}.")
    return job


def check_sources(sources: Sequence[str], roots: Sequence[str]) -> None:
    """403 unless every source lies below a root. The indexer checks each item again, links followed."""
    if not roots:
        raise Problem(
            403, "This server reads no folders of its own; SIGHTLINE_API__SOURCE_ROOTS can name some."
        )
    allowed = Roots(roots)
    for source in sources:
        if not allowed.allow(source):
            raise Problem(403, f"{source} does not lie below a folder that this server may read from.")


def answer_of(parts: ApiParts, job_id: str, root: str, errors: int = 100) -> JobAnswer:
    """A job with its counts and its first failures, all of one instant. Raises NotFoundError."""
    return job_answer(parts.catalog.job_report(job_id, errors), root)


def _look(parts: ApiParts, root: str, sees: Shown, job_id: str) -> Seen | None:
    """The job now, as whoever sees so much is shown it; None when its collection was deleted meanwhile."""
    shown.set(sees)  # one thread looks for all followers, in no request's context
    try:
        answer = answer_of(parts, job_id, root)
    except NotFoundError:
        return None
    counted = answer.model_dump_json(exclude={"updated_at"})
    return Seen(answer.model_dump_json(), counted, answer.state in ENDED)


def register(parts: ApiParts, job_id: str) -> None:
    """List what a job whose turn has come is about; nothing when that was done or called off meanwhile."""
    try:
        job = parts.catalog.job(job_id)
        if job.state != "registering":
            return
        if job.kind in (CAPTION, CAPFILT):
            parts.list_written(job_id)
        else:
            parts.indexer.register(job_id)
    except (ConflictError, NotFoundError) as error:
        log.warning("%s", printable(str(error)), extra={"job_id": job_id})
    except Exception:
        log.exception("A server-side job ended early.", extra={"job_id": job_id})
