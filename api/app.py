"""``create_app``: from parts to a FastAPI application."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from sightline.api import problems
from sightline.api.auth import Guard
from sightline.api.bounded_checks import BoundedChecks
from sightline.api.dependencies import PROBLEM_SCHEMA, ModelThreads
from sightline.api.documents import DocumentDecoding
from sightline.api.metrics import Metrics
from sightline.api.middleware import BodyLimit, ImagePaths, RequestScope
from sightline.api.parts import ApiParts
from sightline.api.routes import collections, health, images, jobs, page, search, trash
from sightline.api.settings import ApiSettings

HERE = Path(__file__).parent
DESCRIPTION = (
    "Find pictures in words: BLIP-2 retrieves candidates (ITC), image-text matching (ITM) orders them. "
    "Every error is an RFC 9457 problem document."
)


def create_app(parts: ApiParts) -> FastAPI:
    """The application: API, metrics and page. Touches neither database nor model before the first request."""
    settings = parts.settings
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
    app.state.threads = ModelThreads(parts.max_waiting)
    app.state.pictures = DocumentDecoding(parts.decoder, settings)
    app.state.checks = BoundedChecks[health.Found]()
    app.state.metrics = Metrics(parts.catalog, parts.queue_figures, parts.degraded)
    problems.install(app)
    for module in (page, search, images, jobs, trash, collections, health):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    _surround(app, settings)
    _describe(app)
    return app


def _surround(app: FastAPI, settings: ApiSettings) -> None:
    """Middleware; the one added last is outermost."""
    app.add_middleware(ImagePaths)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(Guard, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["Location", "X-Request-ID", "ETag", "Retry-After"],
        )
    app.add_middleware(RequestScope, metrics=app.state.metrics, settings=settings)


def _describe(app: FastAPI) -> None:
    """OpenAPI: our problem document in place of the framework's validation error, and the optional key."""
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
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{}, {"key": []}]
            _replace_validation(schema)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _replace_validation(schema: dict[str, Any]) -> None:
    """Wherever the framework documents its own 422, ours is what comes."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    for path in schema["paths"].values():
        for operation in path.values():
            answer = operation.get("responses", {}).get("422")
            if answer is not None:
                operation["responses"]["422"] = {"description": "Not understood", "content": content}
