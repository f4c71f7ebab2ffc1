"""``/livez``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sightline.api.dependencies import MetricsHere, PartsHere
from sightline.api.parts import ApiParts
from sightline.api.schemas.common import Answer
from sightline.errors import SightlineError

router = APIRouter(tags=["health"])
log = logging.getLogger("sightline.http")


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


@router.get("/livez")
async def live() -> Alive:
    """200 while the process answers at all; touches nothing else."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready"}})
def ready(parts: PartsHere, response: Response) -> Readiness:
    """200 when model, database and generations can answer a search, else 503 with the same body."""
    checks = {"model": CheckAnswer.of(parts.model_status())} | _stored(parts)
    good = all(check.ready for check in checks.values())
    if checks["database"].ready:
        checks["indexing"] = _indexing(parts)
    response.status_code = 200 if good else 503
    response.headers["Cache-Control"] = "no-store"
    return Readiness(status="ready" if good else "not ready", checks=checks)


@router.get("/metrics", response_class=Response)
def metrics(metrics: MetricsHere) -> Response:
    """Prometheus metrics: prefix sightline_, base units."""
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _stored(parts: ApiParts) -> dict[str, CheckAnswer]:
    """Database and generations. A collection without one yet is answered by an exact scan, and is ready."""
    try:
        names = [collection.name for collection in parts.catalog.collections()]
        numbers = {name: _generation(parts, name) for name in names}
    except Exception as error:
        log.warning("The catalog cannot be read.", exc_info=True)
        detail = str(error) if isinstance(error, SightlineError) else "The catalog cannot be read."
        unread = CheckAnswer(ready=False, detail="Not known while the database is away.")
        return {"database": CheckAnswer(ready=False, detail=detail), "generation": unread}
    listed = ", ".join(f"{name}: {number}" for name, number in numbers.items()) or "no collections yet"
    return {
        "database": CheckAnswer(ready=True, detail=f"{len(names)} collections"),
        "generation": CheckAnswer(ready=True, detail=listed),
    }


def _indexing(parts: ApiParts) -> CheckAnswer:
    """Whether what was uploaded is being worked on. Searches are answered all the same: no reason for 503."""
    try:
        trouble = parts.indexer.unattended()
    except SightlineError as error:
        trouble = str(error)
    return CheckAnswer(ready=trouble is None, detail=trouble or "Nothing waits for long.")


def _generation(parts: ApiParts, name: str) -> int:
    generation = parts.catalog.snapshot(name).generation
    return 0 if generation is None else generation.number
