"""What routes are given: the parts, the prefix, and the collection that an address names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Path, Request
from pydantic import AfterValidator

from sightline.api.metrics import Metrics
from sightline.api.parts import ApiParts
from sightline.api.schemas.common import ProblemDocument
from sightline.api.settings import ApiSettings
from sightline.api.threads import ModelThreads
from sightline.api.urls import unescape

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
    root: str


async def everything_of(request: Request) -> Everything:
    """All that this app has."""
    state, root = request.app.state, str(request.scope.get("root_path", ""))
    return Everything(state.parts, state.parts.settings, state.metrics, state.threads, root)


async def root_of(request: Request) -> str:
    """The prefix that a reverse proxy put before every path."""
    return str(request.scope.get("root_path", ""))


PartsHere = Annotated[ApiParts, Depends(parts_of)]
SettingsHere = Annotated[ApiSettings, Depends(settings_of)]
MetricsHere = Annotated[Metrics, Depends(metrics_of)]
EverythingHere = Annotated[Everything, Depends(everything_of)]
Root = Annotated[str, Depends(root_of)]
Name = Annotated[str, Path(description="The collection's name.", examples=["holidays"])]
ImageIdHere = Annotated[
    str, Path(description="The image id, percent-encoded ('/' as %2F)."), AfterValidator(unescape)
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI: these errors may come, as problem details."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    described: Mapping[int, str] = {
        401: "No key, or the wrong one",
        403: "Not allowed here",
        404: "No such thing",
        409: "It contradicts what is stored",
        410: "The original is gone or has changed",
        413: "Too large",
        422: "Not understood",
        503: "Something it needs cannot be reached now",
    }
    return {status: {"description": described[status], "content": content} for status in statuses}


def live_image(parts: ApiParts, collection: str, image_id: str) -> Image:
    """The image at this address; NotFoundError."""
    return parts.catalog.image(collection, image_id)


PROBLEM_SCHEMA = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
