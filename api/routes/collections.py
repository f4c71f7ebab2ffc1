"""``/v1/collections``: a collection is bound to one model for ever."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import AccessHere, Name, PartsHere, Purge, Root, problems
from sightline.api.parts import ApiParts
from sightline.api.problems import Problem, invalid
from sightline.api.schemas.collections import (
    CollectionAnswer,
    CollectionList,
    NewCollection,
    collection_answer,
)
from sightline.api.urls import collection_url
from sightline.errors import NotFoundError

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=ScopedRoute)


EXISTED = "It is there already, with the same model"
THERE: dict[int | str, dict[str, Any]] = {200: {"model": CollectionAnswer, "description": EXISTED}}


@router.post(
    "",
    status_code=201,
    responses=THERE | problems(403, 409, 422, 503),
    openapi_extra=needs("write", everywhere=True),
)
def create_collection(
    body: NewCollection, parts: PartsHere, root: Root, response: Response
) -> CollectionAnswer:
    """Create a collection (201), or find it with the same model (200); with another model: 409."""
    if body.model is not None:
        check_model(body.model, parts)
    existed = _exists(parts, body.name)
    collection = parts.collections.create(body.name, body.model, body.revision)
    response.status_code = 200 if existed else 201
    response.headers["Location"] = collection_url(collection.name, root)
    return collection_answer(collection, parts.catalog.collection_counts(collection.name))


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


@router.delete(
    "/{name}", status_code=204, responses=problems(403, 404, 409, 503), openapi_extra=needs("write")
)
def delete_collection(name: Name, parts: PartsHere, purge: Purge) -> None:
    """Move a collection to the trash with all that it has, or purge it. Originals elsewhere stay."""
    if purge:
        parts.purging.collection(name)
    else:
        parts.catalog.delete_collection(name)


def check_model(model: str, parts: ApiParts) -> None:
    """Over HTTP a model is a hub id or a name: a path would let strangers look around in our folders."""
    if not model.strip():
        raise invalid("/model", "The name of a model cannot be empty.")
    if model == parts.default_model:
        return
    if model.startswith(("/", ".", "~")) or "\\" in model or ".." in model or "://" in model:
        raise Problem(403, "Name a model by its hub id; folders can be given on the command line only.")
    if model.count("/") > 1:
        raise invalid("/model", f"{model!r} is no hub id: it reads like 'owner/name'.")


def _exists(parts: ApiParts, name: str) -> bool:
    try:
        parts.catalog.collection(name)
    except NotFoundError:
        return False
    return True
