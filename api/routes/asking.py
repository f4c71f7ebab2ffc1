"""``…/{name}/ask``: questions about pictures of a collection, answered at once or one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import EverythingHere, Name, problems
from sightline.api.discretion import shown_name
from sightline.api.parts import ApiParts
from sightline.api.routes.search import as_json
from sightline.api.schemas.ask import AskAnswer, AskBody, asked_answer, begun
from sightline.api.streaming import Event, EventStream, Steps
from sightline.api.writers import served_answerer

router = APIRouter(prefix="/v1", tags=["search"], route_class=ScopedRoute)
EVENTS = "text/event-stream"
AS_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `Accept: text/event-stream` server-sent events: `begun` (model, prompt, count), "
        "`answer` for each picture as it is ready, `done` (degraded), or `error` (a problem document).",
        "content": {EVENTS: {"schema": {"type": "string"}}},
    }
}


@router.post(
    "/collections/{name}/ask",
    responses=AS_EVENTS | problems(404, 422, 503),
    response_model=AskAnswer,
    openapi_extra=needs("read"),
)
async def ask(name: Name, body: AskBody, here: EverythingHere, request: Request) -> Response:
    """Ask a question about pictures, by their ids or the best ones of a search."""
    if not wants_events(request):
        return await here.threads.run(
            request.receive, lambda: as_json(answer_all(here.parts, name, body, here.root))
        )
    steps = Steps(here.threads, partial(events_of, here.parts, name, body, here.root))
    return EventStream(request, await steps.first(request.receive), steps)


def wants_events(request: Request) -> bool:
    """Whether the client asks for server-sent events."""
    accepted = request.headers.get("accept", "").lower()
    return any(one.partition(";")[0].strip() == EVENTS for one in accepted.split(","))


def answer_all(parts: ApiParts, name: str, body: AskBody, root: str) -> AskAnswer:
    """All answers in one document."""
    named = served_answerer(parts, parts.catalog.collection(name), body.model)
    with parts.asking.ask(body.to_request(name, named.model, named.revision)) as asked:
        return AskAnswer(
            **begun(shown_name(asked.model), asked.prompt, asked.count),
            results=[asked_answer(one, name, root) for one in asked.answers],
            degraded=list(asked.degraded),
        )


def events_of(parts: ApiParts, name: str, body: AskBody, root: str) -> Iterator[Event]:
    """The same as events."""
    named = served_answerer(parts, parts.catalog.collection(name), body.model)
    with parts.asking.ask(body.to_request(name, named.model, named.revision)) as asked:
        yield Event("begun", json.dumps(begun(shown_name(asked.model), asked.prompt, asked.count)))
        for one in asked.answers:
            yield Event("answer", asked_answer(one, name, root).model_dump_json())
        yield Event("done", json.dumps({"degraded": list(asked.degraded)}))
