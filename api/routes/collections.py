"""``/v1/collections``: a collection is bound to one model for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import AccessHere, EverythingHere, Name, PartsHere, Purge, problems
from sightline.api.parts import ApiParts
from sightline.api.problems import Problem, invalid
from sightline.api.schemas.collections import (
    CollectionAnswer,
    CollectionChange,
    CollectionList,
    NewCollection,
    collection_answer,
)
from sightline.api.urls import collection_url
from sightline.errors import NotFoundError

if TYPE_CHECKING:
    from sightline.serving.served import ServedModel

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=ScopedRoute)


EXISTED = "It is there already, with the same model"
THERE: dict[int | str, dict[str, Any]] = {200: {"model": CollectionAnswer, "description": EXISTED}}


@router.post(
    "",
    status_code=201,
    responses=THERE | problems(403, 409, 422, 503),
    openapi_extra=needs("write", everywhere=True),
)
async def create_collection(
    body: NewCollection, here: EverythingHere, request: Request, response: Response
) -> CollectionAnswer:
    """Create a collection (201), or find it with the same model (200); with another model: 409."""
    # Not in the framework's threads: telling the model may wait for a hub.
    answer, existed = await here.threads.run(request.receive, lambda: make_collection(body, here.parts))
    response.status_code = 200 if existed else 201
    response.headers["Location"] = collection_url(answer.name, here.root)
    return answer


def make_collection(body: NewCollection, parts: ApiParts) -> tuple[CollectionAnswer, bool]:
    """The collection, and whether it existed before."""
    served = None
    if body.model is not None or body.revision is not None:
        served = served_model(body.model, body.revision, parts)
    existed = _exists(parts, body.name)
    if served is None:
        collection = parts.collections.create(body.name)
    else:
        collection = parts.collections.create_served(body.name, served)
    return collection_answer(collection, parts.catalog.collection_counts(collection.name)), existed


@router.get("", openapi_extra=needs("read"))
def list_collections(parts: PartsHere, access: AccessHere) -> CollectionList:
    """All collections that the key is for."""
    seen = [one for one in parts.catalog.overview() if access.sees(one.collection.name)]
    found = [collection_answer(one.collection, one.counts) for one in seen]
    return CollectionList(items=found)


@router.get("/{name}", responses=problems(404), openapi_extra=needs("read"))
def get_collection(name: Name, parts: PartsHere) -> CollectionAnswer:
    """One collection."""
    collection = parts.catalog.collection(name)
    return collection_answer(collection, parts.catalog.collection_counts(name))


@router.patch("/{name}", responses=problems(404, 422), openapi_extra=needs("write"))
def change_collection(name: Name, body: CollectionChange, parts: PartsHere) -> CollectionAnswer:
    """Choose its kind of index."""
    collection = parts.index_kinds.ask(name, body.index)
    return collection_answer(collection, parts.catalog.collection_counts(name))


@router.delete(
    "/{name}", status_code=204, responses=problems(403, 404, 409, 503), openapi_extra=needs("write")
)
def delete_collection(name: Name, parts: PartsHere, purge: Purge) -> None:
    """Move a collection to the trash with all that it has, or purge it. Originals elsewhere stay."""
    if purge:
        parts.purging.collection(name)
    else:
        parts.catalog.delete_collection(name)


def served_model(
    model: str | None, revision: str | None, parts: ApiParts, pointer: str = "/model"
) -> ServedModel:
    """One that this server serves, or 403: no request makes it ask a hub, or look into a folder."""
    if model is not None and not model.strip():
        raise invalid(pointer, "The name of a model cannot be empty.")
    found = parts.served.find(model, revision)
    if found is None:
        raise Problem(
            403,
            "This server does not serve that model or revision. Requests may name the default model, 'demo', "
            "those of GET /v1/collections and those that SIGHTLINE_API__MODELS lists.",
        )
    return found


def _exists(parts: ApiParts, name: str) -> bool:
    try:
        parts.catalog.collection(name)
    except NotFoundError:
        return False
    return True
