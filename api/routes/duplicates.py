"""``/v1/collections/{name}/duplicates``: which images are the same picture."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query

from sightline.api.access import ScopedRoute, needs
from sightline.api.dependencies import Name, PartsHere, Root, problems
from sightline.api.schemas.common import MAX_CURSOR
from sightline.api.schemas.duplicates import DuplicateList, duplicate_list

router = APIRouter(prefix="/v1/collections/{name}", tags=["images"], route_class=ScopedRoute)
SECONDS: Final = 2.0
"""What is new is compared for so long before the answer."""


@router.get("/duplicates", responses=problems(404, 422), openapi_extra=needs("read"))
def list_duplicates(
    name: Name,
    parts: PartsHere,
    root: Root,
    cursor: Annotated[
        str | None, Query(max_length=MAX_CURSOR, description="next_cursor of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many groups.")] = 50,
) -> DuplicateList:
    """Groups of images with the same bytes or the same picture, page by page. Nothing is deleted."""
    return duplicate_list(parts.duplicates.find(name, cursor, limit, SECONDS), name, root)
