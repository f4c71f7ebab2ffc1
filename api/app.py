"""``create_app``: from parts to a FastAPI application."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware

from sightline.api import problems as errors
from sightline.api.access import check_declared
from sightline.api.assets import Assets
from sightline.api.auth import Gatekeeper, Guard
from sightline.api.bodies import Bodies
from sightline.api.bounded_checks import BoundedChecks
from sightline.api.compression import Compression
from sightline.api.dependencies import PROBLEM_SCHEMA, ModelThreads, problems
from sightline.api.documents import DocumentDecoding
from sightline.api.following import Following
from sightline.api.lacking import Lacking
from sightline.api.local_caller import LocalCaller
from sightline.api.metrics import Metrics
from sightline.api.middleware import BodyLimit, ImagePaths, RequestScope
from sightline.api.origins import Origins
from sightline.api.parts import ApiParts
from sightline.api.room import Room, UploadRoom, spool_early
from sightline.api.routes import (
    asking,
    captions,
    collections,
    duplicates,
    explanation,
    first_collection,
    health,
    images,
    jobs,
    keys,
    local,
    page,
    page_picture,
    rerank,
    saved,
    search,
    search_batch,
    text_page,
    texts,
    trash,
)
from sightline.api.schemas.common import Answer
from sightline.api.schemas.common import Request as RequestBody
from sightline.api.sending import FileThreads
from sightline.api.sessions import COOKIE
from sightline.api.settings import ApiSettings
from sightline.api.showing import Discretion
from sightline.api.throttle import Throttle
from sightline.indexer.listings import Listings

FILE_THREADS = 2
"""Of each kind: thumbnails, pieces of originals that are sent, originals that are read to their end to be
compared with their SHA-256, and pages without a query. A disk that hangs holds up one kind only.
"""
TOO_MANY_FOLLOWERS = "Too many clients follow jobs or searches now; ask without events, or come again."
HERE = Path(__file__).parent
ANYWHERE = (400, 401, 403, 408, 413, 421, 429, 431, 503)
"""Errors that may come from every address, whatever it is for."""
DESCRIPTION = (
    "Find pictures in words: BLIP-2 retrieves candidates (ITC), image-text matching (ITM) orders them. "
    "Every error is an RFC 9457 problem document."
)

SECURITY_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "Each operation names the scope it needs."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "What the page trades a key for.",
    },
}


def create_app(parts: ApiParts, local_secret: str | None = None) -> FastAPI:
    """The application: API, metrics and page. Touches neither database nor model before the first request.

    ``local_secret``: of ``server.json``, where that names this process.
    """
    settings = parts.settings
    spool_early()

    def is_searched() -> bool:
        return parts.queue_figures().requests > 0

    app = FastAPI(
        title="Sightline",
        version="1",
        description=DESCRIPTION,
        openapi_url="/openapi.json",
        docs_url=None,  # the stock pages load their scripts from a CDN; see docs/http.md
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts = parts
    app.state.bodies = Bodies(settings)
    app.state.threads = ModelThreads(parts.max_waiting)
    app.state.local_caller = LocalCaller(local_secret)
    app.state.gatekeeper = Gatekeeper(settings, parts.catalog, app.state.local_caller)
    app.state.thumbnail_threads = FileThreads(FILE_THREADS, is_searched)
    app.state.file_threads = FileThreads(FILE_THREADS, is_searched)
    app.state.opening_threads = FileThreads(FILE_THREADS, is_searched)
    app.state.page_threads = FileThreads(FILE_THREADS, is_searched)
    app.state.following = Following(settings.event_seconds)
    app.state.followers = Room(settings.max_followers, TOO_MANY_FOLLOWERS)
    app.state.listings = Listings(partial(jobs.register, parts))
    app.state.pictures = DocumentDecoding(parts.decoder, settings)
    app.state.checks = BoundedChecks[health.Found]()
    app.state.lacking = Lacking(parts.catalog, parts.degraded)
    app.state.metrics = Metrics(parts.catalog, parts.queue_figures, app.state.lacking, parts.worker_counts)
    app.state.assets = Assets(HERE / "static")
    errors.install(app)
    for module in (
        page,
        first_collection,
        page_picture,
        text_page,
        search,
        search_batch,
        rerank,
        asking,
        captions,
        explanation,
        images,
        texts,
        jobs,
        saved,
        trash,
        duplicates,
        collections,
        keys,
        local,
        health,
    ):
        app.include_router(module.router)
    app.mount("/static", app.state.assets, name="static")
    check_declared(app.routes)
    _surround(app, settings, parts.max_waiting)
    _describe(app)
    return app


def _surround(app: FastAPI, settings: ApiSettings, waiting: int) -> None:
    """Middleware; the one added last is outermost."""
    app.add_middleware(ImagePaths)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(UploadRoom, settings=settings)
    app.add_middleware(Throttle, settings=settings, waiting=waiting)
    app.add_middleware(Discretion, settings=settings)
    app.add_middleware(Guard, gatekeeper=app.state.gatekeeper)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Range", "X-Request-ID"],
            expose_headers=["Location", "X-Request-ID", "ETag", "Retry-After", "Content-Range"],
        )
    app.add_middleware(Origins, settings=settings, is_controlled=app.state.gatekeeper.is_controlled)
    app.add_middleware(Compression)
    app.add_middleware(RequestScope, metrics=app.state.metrics)


def _describe(app: FastAPI) -> None:
    """OpenAPI: our problem document in place of the framework's validation error, and keys."""
    generate: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            components = schema.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            document = dict(PROBLEM_SCHEMA)
            schemas |= document.pop("$defs", {})
            schemas["ProblemDocument"] = document
            components["securitySchemes"] = SECURITY_SCHEMES
            _restore_examples(schemas)
            _describe_problems(schema)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _restore_examples(schemas: dict[str, Any]) -> None:
    """As they were written: the framework takes every null out of them, and then they do not fit."""
    models: list[type[BaseModel]] = [Answer, RequestBody]
    while models:
        model = models.pop()
        models += model.__subclasses__()
        extra = model.model_config.get("json_schema_extra")
        if isinstance(extra, dict) and "examples" in extra and model.__name__ in schemas:
            schemas[model.__name__]["examples"] = extra["examples"]


def _describe_problems(schema: dict[str, Any]) -> None:
    """What every operation may answer; where the framework documents its own 422, ours is what comes."""
    for path in schema["paths"].values():
        for operation in path.values():
            answers = operation["responses"]
            own = {"422"} & answers.keys()
            usual = ANYWHERE + ((415,) if "requestBody" in operation else ()) + tuple(map(int, own))
            for status, answer in problems(*usual).items():
                if str(status) not in answers or str(status) in own:
                    answers[str(status)] = answer
