"""Groups of near duplicates over HTTP."""

from __future__ import annotations

from pydantic import Field

from sightline.api.schemas.common import Answer
from sightline.api.urls import file_url, thumbnail_url
from sightline.searching.duplicate_groups import GroupKind
from sightline.searching.duplicates import DuplicatePage


class DuplicateImage(Answer):
    """One image of a group."""

    id: str
    width: int | None
    height: int | None
    bytes: int
    sha256: str
    largest: bool = Field(description="The largest of its group.")
    thumbnail_url: str
    file_url: str


class DuplicateGroupAnswer(Answer):
    """Images that are the same bytes, or the same picture in different files; the largest first."""

    kind: GroupKind
    images: list[DuplicateImage]


class DuplicateList(Answer):
    """A page of groups."""

    groups: list[DuplicateGroupAnswer]
    total: int = Field(description="How many groups the collection has, as far as pictures were compared.")
    next_cursor: str | None
    waiting: int = Field(description="How many images were not compared with the others yet.")
    degraded: list[str] = Field(description="What could not be compared, a sentence each; empty: nothing.")


def duplicate_list(page: DuplicatePage, collection: str, root: str = "") -> DuplicateList:
    """A page as JSON."""
    groups = []
    for group in page.groups:
        images = [
            DuplicateImage(
                id=one.id, width=one.width, height=one.height, bytes=one.bytes, sha256=one.sha256,
                largest=one is group.largest,
                thumbnail_url=thumbnail_url(collection, one.id, one.sha256, root),
                file_url=file_url(collection, one.id, one.sha256, root),
            )
            for one in group.images
        ]  # fmt: skip
        groups.append(DuplicateGroupAnswer(kind=group.kind, images=images))
    return DuplicateList(
        groups=groups, total=page.total, next_cursor=page.next_cursor, waiting=page.waiting,
        degraded=list(page.degraded),
    )  # fmt: skip
