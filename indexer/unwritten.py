"""Objects that nobody has written since their bytes were registered; the store says so, unread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sightline.errors import NotFoundError
from sightline.store.records import COPIED
from sightline.store.work_records import Registration

if TYPE_CHECKING:
    from sightline.indexer.items import SourceItem
    from sightline.store.catalog import Catalog

SETTLED_SECONDS: Final = 900.0
"""An object that was written less than this before its picture was registered is read again: the clocks of
stores differ, and it may have been written between reading and registering."""


def unwritten(
    catalog: Catalog, collection: str, item: SourceItem, source: str, copy: bool
) -> Registration | None:
    """The item with the bytes that are known of it; None when it must be read."""
    written = item.written
    if written is None:
        return None
    try:
        image = catalog.image(collection, item.image_id)
    except NotFoundError:
        return None
    same = image.state == "live" and image.source == source and image.bytes == written.size
    if not same or written.at > image.created_at - SETTLED_SECONDS:
        return None
    if copy and not image.uri.startswith(COPIED):
        return None
    uri = image.uri if copy else item.uri
    return Registration(item.image_id, image.sha256, uri, image.bytes, item.caption, item.metadata, source)
