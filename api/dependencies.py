"""What routes are given: the parts, the prefix, the collection that an address names, and threads.

Requests that may wait for the model have threads apart from those that serve pictures and health: the
framework's own pool has 40 for everything, and forty waiting searches would hold up every thumbnail and
``/readyz``. Here there are as many as may wait, and a few that find the queue full and say so at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator
from starlette.types import Receive

from sightline.api.access import Access, access_of
from sightline.api.documents import DocumentDecoding
from sightline.api.metrics import Metrics
from sightline.api.parts import ApiParts
from sightline.api.problems import Problem
from sightline.api.schemas.common import ProblemDocument, is_too_long
from sightline.api.sending import until_gone
from sightline.api.settings import ApiSettings
from sightline.api.urls import unescape
from sightline.serving.scheduler import client_gone
from sightline.store.values import MAX_ID_BYTES

if TYPE_CHECKING:
    from sightline.store.records import Image


async def parts_of(request: Request) -> ApiParts:
    """The parts that this app was created with."""
    parts: ApiParts = request.app.state.parts
    return parts


async def settings_of(request: Request) -> ApiSettings:
    """The API's own settings."""
    settings: ApiSettings = request.app.state.parts.settings
    return settings


async def metrics_of(request: Request) -> Metrics:
    """The metrics of this app."""
    metrics: Metrics = request.app.state.metrics
    return metrics


@dataclass(frozen=True, slots=True)
class Everything:
    """All of these at once, for the routes whose every millisecond counts: each dependency costs time."""

    parts: ApiParts
    settings: ApiSettings
    metrics: Metrics
    threads: ModelThreads
    pictures: DocumentDecoding
    root: str
    access: Access


async def everything_of(request: Request) -> Everything:
    """All that this app has."""
    state, root = request.app.state, str(request.scope.get("root_path", ""))
    return Everything(
        state.parts,
        state.parts.settings,
        state.metrics,
        state.threads,
        state.pictures,
        root,
        access_of(request),
    )


async def root_of(request: Request) -> str:
    """The prefix that a reverse proxy put before every path."""
    return str(request.scope.get("root_path", ""))


async def access_here(request: Request) -> Access:
    """Who asks."""
    return access_of(request)


async def purge_of(
    request: Request,
    purge: Annotated[
        bool,
        Query(description="Not to the trash, or out of it: leave no trace, at once and for good (admin)."),
    ] = False,
) -> bool:
    """Whether no trace is to be left, which an admin may ask for."""
    if purge:
        access_of(request).require("admin")
    return purge


AccessHere = Annotated[Access, Depends(access_here)]
PartsHere = Annotated[ApiParts, Depends(parts_of)]
SettingsHere = Annotated[ApiSettings, Depends(settings_of)]
MetricsHere = Annotated[Metrics, Depends(metrics_of)]
EverythingHere = Annotated[Everything, Depends(everything_of)]
Root = Annotated[str, Depends(root_of)]


def bounded(text: str) -> str:
    """A name in an address; Problem (404) when it is longer than anything is called."""
    if is_too_long(text):
        raise Problem(404, f"Nothing here has a name of more than {MAX_ID_BYTES:,} bytes.")
    return text


Bounded = AfterValidator(bounded)
Name = Annotated[str, Path(description="The collection's name.", examples=["holidays"]), Bounded]
JobId = Annotated[str, Path(description="The job's id."), Bounded]
Purge = Annotated[bool, Depends(purge_of)]
ImageIdHere = Annotated[
    str, Path(description="The image id, percent-encoded ('/' as %2F)."), AfterValidator(unescape), Bounded
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI: these errors may come, as problem details."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    described: Mapping[int, str] = {
        400: "Cannot be read: no JSON, no form, no UTF-8",
        401: "No key, or the wrong one",
        403: "Not allowed here",
        404: "No such thing",
        408: "The request took too long to arrive",
        409: "It contradicts what is stored",
        410: "The original is gone or has changed",
        413: "Too large",
        415: "Sent as another media type than this address reads",
        416: "No such range of bytes",
        421: "Sent to a host that this server is not",
        422: "Not understood",
        429: "Too many requests of this client",
        431: "The head of the request is too large",
        503: "Something it needs cannot be reached now",
        507: "A disk is full",
    }
    return {status: {"description": described[status], "content": content} for status in statuses}


def live_image(parts: ApiParts, collection: str, image_id: str) -> Image:
    """The image at this address; NotFoundError."""
    return parts.catalog.image(collection, image_id)


PROBLEM_SCHEMA = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")


Result = TypeVar("Result")

SPARE = 8


class ModelThreads:
    """Runs the work of routes; ``waiting`` is how many requests may wait for the model."""

    def __init__(self, waiting: int) -> None:
        self._limiter = CapacityLimiter(waiting + SPARE)

    async def run(self, receive: Receive, work: Callable[[], Result]) -> Result:
        """``work()`` in a thread, with this request's context: its id in log lines, its client's presence.

        The body must have been read: what ``receive`` brings from now on is that the client has hung up.
        """
        gone = Event()
        client_gone.set(gone)  # every request is a task with a context of its own
        watcher = asyncio.create_task(watch(receive, gone))
        try:
            return await to_thread.run_sync(work, limiter=self._limiter)
        finally:
            watcher.cancel()

    async def step(self, work: Callable[[], Result], gone: Event, receive: Receive | None = None) -> Result:
        """As ``run``, for one of several steps that a request is made of; ``gone`` is set when its client
        hangs up, here with ``receive``, else by whoever sends the answer. Called off, it returns at once, and
        the thread ends by itself.
        """
        client_gone.set(gone)
        watcher = None if receive is None else asyncio.create_task(watch(receive, gone))
        try:
            return await to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
        finally:
            if watcher is not None:
                watcher.cancel()


async def watch(receive: Receive, gone: Event) -> None:
    """Set ``gone`` when the client has hung up."""
    await until_gone(receive)
    gone.set()
