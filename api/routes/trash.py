"""``/v1/trash`` and ``/v1/collections/{name}/trash``: what was deleted, had back or given up."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from sightline.api.access import Access, ScopedRoute, hidden, needs
from sightline.api.dependencies import (
    AccessHere,
    Bounded,
    Name,
    PartsHere,
    Purge,
    SettingsHere,
    problems,
)
from sightline.api.parts import ApiParts
from sightline.api.problems import Problem
from sightline.api.schemas.collections import CollectionAnswer, collection_answer
from sightline.api.schemas.common import MAX_CURSOR, StoredId
from sightline.api.schemas.trash import (
    EmptiedAnswer,
    HeldAnswer,
    RefusedAnswer,
    RestoreCollection,
    RestoredAnswer,
    RestoreImages,
    TrashAnswer,
    TrashedImageList,
    trashed_collection_answer,
    trashed_image_answer,
)

router = APIRouter(prefix="/v1", tags=["trash"], route_class=ScopedRoute)
Deleted = Annotated[
    str,
    Path(description="A deleted collection: its id in the trash, or its name.", examples=["~3~holidays"]),
    Bounded,
]


@router.get("/collections/{name}/trash", responses=problems(404, 422), openapi_extra=needs("read"))
def list_trashed_images(
    name: Name,
    parts: PartsHere,
    settings: SettingsHere,
    cursor: Annotated[
        str | None, Query(max_length=MAX_CURSOR, description="next_cursor of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> TrashedImageList:
    """Deleted images, page by page."""
    page = parts.catalog.images(name, cursor, limit, state="trashed", most_bytes=settings.max_answer_bytes)
    items = [trashed_image_answer(image) for image in page.items]
    return TrashedImageList(items=items, next_cursor=page.next_cursor)


@router.post("/collections/{name}/trash/restore", responses=problems(404, 422), openapi_extra=needs("write"))
def restore_images(name: Name, body: RestoreImages, parts: PartsHere) -> RestoredAnswer:
    """Bring deleted images back as they were, without the model. Of several with one id the newest.

    An id that another image has meanwhile is refused; the others come back.
    """
    done = parts.catalog.restore_images(parts.catalog.collection(name).id, body.ids)
    return RestoredAnswer(
        restored=done.restored, refused=[RefusedAnswer.model_validate(one) for one in done.refused]
    )


@router.delete(
    "/collections/{name}/trash",
    responses=problems(403, 404, 409, 422, 503),
    openapi_extra=needs("admin"),
)
def empty_trash(
    name: Name,
    parts: PartsHere,
    purge: Purge,
    id: Annotated[
        list[StoredId] | None, Query(max_length=1000, description="An image id; give it several times.")
    ] = None,
    all: Annotated[bool, Query(description="All deleted images of the collection.")] = False,
) -> EmptiedAnswer:
    """Give deleted images up for good: these, or all."""
    if bool(id) == all:
        raise Problem(422, "Say which deleted images to give up: id (several times), or all=true.")
    wanted = id or None
    if purge:
        return EmptiedAnswer(emptied=len(parts.purging.trash(name, wanted)))
    number = parts.catalog.collection(name).id
    return EmptiedAnswer(emptied=len(parts.catalog.empty_trash(number, wanted)))


@router.get("/trash", openapi_extra=needs("read"))
def list_trash(parts: PartsHere, access: AccessHere) -> TrashAnswer:
    """Deleted collections, and how many deleted images the others have."""
    catalog = parts.catalog
    seen = [one for one in catalog.overview() if access.sees(one.collection.name)]
    held = {one.collection.name: one.counts["trashed"] for one in seen}
    deleted = [one for one in catalog.trashed_collections() if access.sees(one.name)]
    return TrashAnswer(
        items=[trashed_collection_answer(one) for one in deleted],
        images=[HeldAnswer(collection=name, images=count) for name, count in held.items() if count],
    )


@router.post("/trash/{collection}/restore", responses=problems(404, 409, 422), openapi_extra=needs("write"))
def restore_collection(
    collection: Deleted, parts: PartsHere, access: AccessHere, body: RestoreCollection | None = None
) -> CollectionAnswer:
    """Bring a deleted collection back with all that it had; 409 when its name is taken and no other given."""
    new_name = None if body is None else body.new_name
    collection = deleted_here(parts, access, collection)
    if new_name is not None and not access.sees(new_name):
        raise Problem(403, f"The key {access.name} is not for a collection {new_name!r}: keep the name.")
    restored = parts.catalog.restore_collection(collection, new_name)
    return collection_answer(restored, parts.catalog.collection_counts(restored.name))


@router.delete(
    "/trash/{collection}",
    status_code=204,
    responses=problems(403, 404, 409, 503),
    openapi_extra=needs("admin"),
)
def empty_collection(collection: Deleted, parts: PartsHere, access: AccessHere, purge: Purge) -> None:
    """Give a deleted collection up for good."""
    collection = deleted_here(parts, access, collection)
    if purge:
        parts.purging.trashed_collection(collection)
    else:
        parts.catalog.empty_collection(collection)


def deleted_here(parts: ApiParts, access: Access, name: str) -> str:
    """What the catalog calls the deleted collection that a bound key means; 404 when it is for none such."""
    if access.collections is None:
        return name
    deleted = parts.catalog.trashed_collections()
    for found in ([one for one in deleted if one.id == name], [one for one in deleted if one.name == name]):
        if found and access.sees(found[0].name):
            return found[0].id
    return hidden(f"There is no deleted collection {name!r} in the trash.")
