"""``/livez``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sightline.api.access import ScopedRoute, needs
from sightline.api.bounded_checks import BoundedChecks
from sightline.api.dependencies import MetricsHere, PartsHere, problems
from sightline.api.discretion import IN_THE_LOG, shown
from sightline.api.lacking import Lacking
from sightline.api.parts import ApiParts
from sightline.api.schemas.common import Answer
from sightline.errors import SightlineError

router = APIRouter(tags=["health"], route_class=ScopedRoute)
log = logging.getLogger("sightline.http")
CHECK_SECONDS = 1.5
"""How long what may hang is waited for."""
NAMED = 20
"""Collections that a detail names."""


class Alive(Answer):
    """The process answers."""

    status: str = "alive"


class CheckAnswer(Answer):
    """One thing that answering needs."""

    ready: bool
    detail: str


class Readiness(Answer):
    """Whether searches can be answered now, and why not; the check ``indexing`` is for whoever watches."""

    status: str
    checks: dict[str, CheckAnswer]


Found = dict[str, CheckAnswer]
INDEXING = "indexing"
"""The check that makes nobody unready: searches are answered all the same."""
NOT_ANSWERED = CheckAnswer(ready=False, detail=f"Not answered within {CHECK_SECONDS:g} s.")


@router.get("/livez", openapi_extra=needs("open"))
async def live() -> Alive:
    """200 while the process answers at all; touches nothing else."""
    return Alive()


@router.get(
    "/readyz",
    responses={503: {"model": Readiness, "description": "Not ready"}},
    openapi_extra=needs("open"),
)
async def ready(parts: PartsHere, request: Request, response: Response) -> Readiness:
    """200 when model, database and generations can answer a search, else 503 with the same body.

    Answers within two seconds, whatever hangs.
    """
    asked: BoundedChecks[Found] = request.app.state.checks
    lacking: Lacking = request.app.state.lacking
    questions = {name: partial(ask, parts, lacking) for name, (_, ask) in ASKED.items()}
    found = await asked.found(questions, CHECK_SECONDS)
    checks = {"model": CheckAnswer.of(parts.model_status())}
    for name, (answers, _) in ASKED.items():
        checks |= found.get(name) or dict.fromkeys(answers, NOT_ANSWERED)
    good = all(check.ready for name, check in checks.items() if name != INDEXING)
    response.status_code = 200 if good else 503
    response.headers["Cache-Control"] = "no-store"
    told = {name: _told(name, check) for name, check in checks.items()}
    return Readiness(status="ready" if good else "not ready", checks=told)


@router.get(
    "/metrics",
    response_class=Response,
    responses=problems(403),
    openapi_extra=needs("admin", everywhere=True),
)
def metrics(metrics: MetricsHere) -> Response:
    """Prometheus metrics: prefix sightline_, base units."""
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _told(name: str, check: CheckAnswer) -> CheckAnswer:
    """A check as its caller is shown it."""
    if shown.get().details:
        return check
    if check.ready:
        return CheckAnswer(ready=True, detail="Ready.")
    log.warning("The check %s says: %s", name, check.detail)
    return CheckAnswer(ready=False, detail=f"Not ready. {IN_THE_LOG}")


def _stored(parts: ApiParts, lacking: Lacking) -> Found:
    """Database and generations. A collection without one yet is answered by an exact scan, and is ready."""
    try:
        generations = parts.catalog.serving_generations()
        degraded = lacking([collection for collection, _ in generations])
    except Exception as error:
        ours = isinstance(error, SightlineError)
        detail = str(error) if ours else "The catalog cannot be read."
        log.warning("%s", detail, exc_info=not ours)
        unread = CheckAnswer(ready=False, detail="Not known while the database is away.")
        return {"database": CheckAnswer(ready=False, detail=detail), "generation": unread}
    numbers = [f"{collection.name}: {number}" for collection, number in generations]
    lost = [f"{name}: {' '.join(said)}" for name, said in degraded.items()]
    return {
        "database": CheckAnswer(ready=True, detail=f"{len(generations)} collections"),
        "generation": CheckAnswer(ready=True, detail=_some(numbers, ", ") or "no collections yet"),
        # Searches are answered all the same, and say it too.
        "files": CheckAnswer(ready=True, detail=f"degraded: {_some(lost, ' ')}" if lost else "complete"),
    }


def _indexing(parts: ApiParts, _: Lacking) -> Found:
    """Whether what was uploaded is being worked on."""
    try:
        trouble = parts.indexer.unattended()
    except SightlineError as error:
        trouble = str(error)
    return {INDEXING: CheckAnswer(ready=trouble is None, detail=trouble or "Nothing waits for long.")}


def _some(said: list[str], between: str) -> str:
    """The first few; how many there are is told, and whoever wants them all asks for the collections."""
    more = f"{between}and {len(said) - NAMED} more" if len(said) > NAMED else ""
    return between.join(said[:NAMED]) + more


ASKED: dict[str, tuple[tuple[str, ...], Callable[[ApiParts, Lacking], Found]]] = {
    "stored": (("database", "generation"), _stored),
    "indexing": ((INDEXING,), _indexing),
}
"""What may hang: the names of its answers, and what asks. Raises nothing."""
