"""Images: reading, listing, changing, deleting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, select, update

from sightline.errors import InputError, NotFoundError
from sightline.store.filters import Filter
from sightline.store.records import UNSET, Image, ImageLocation, ImageState, Metadata, Page, Unset
from sightline.store.schema import ImageRow, JobRow, SegmentRow
from sightline.store.sql.filter_sql import condition
from sightline.store.sql.rows import (
    IMAGES,
    bump_version,
    chunks,
    collection_named,
    image_record,
    plain_keys,
    require_collection,
)
from sightline.store.values import check_metadata, check_text, plain_json

MAX_PAGE = 1_000


@dataclass(frozen=True)
class Selection:
    """Which page of which images."""

    cursor: str | None
    limit: int
    filter: Filter | None
    state: ImageState


def one(connection: Connection, collection: str, image_id: str) -> Image:
    """The live version; else the pending one, else the failed one."""
    found = collection_named(connection, collection)
    rank = case({"live": 0, "pending": 1}, value=ImageRow.state, else_=2)
    query = (
        select(IMAGES)
        .where(ImageRow.collection_id == found.id, ImageRow.image_id == image_id)
        .where(ImageRow.state.in_(("live", "pending", "failed")))
        .order_by(rank, ImageRow.key.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"Collection {collection!r} has no image {image_id!r}")
    return image_record(row)


def page(connection: Connection, collection: str, selection: Selection) -> Page:
    """By key, so that a page stays valid while images come and go. Raises InputError for a foreign cursor."""
    limit = selection.limit
    if not 1 <= limit <= MAX_PAGE:
        raise InputError(f"A page has 1 to {MAX_PAGE} images, not {limit}")
    where = [
        ImageRow.collection_id == collection_named(connection, collection).id,
        ImageRow.state == selection.state,
        ImageRow.key > _after(selection.cursor),
    ]
    if selection.filter is not None:
        where.append(condition(selection.filter, connection.dialect.name))
    query = select(IMAGES).where(*where).order_by(ImageRow.key).limit(limit + 1)
    items = [image_record(row) for row in connection.execute(query).all()]
    return Page(items[:limit], str(items[limit - 1].key) if len(items) > limit else None)


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InputError(f"{cursor!r} is not a cursor that this listing gave")
    return int(cursor)


def change(
    connection: Connection,
    collection: str,
    image_id: str,
    caption: str | Unset | None,
    metadata: Metadata | Unset,
) -> Image:
    """Changes the live version and, so that the change outlives a replacement under way, a pending one."""
    values: dict[str, Any] = {}
    if caption is not UNSET:
        if caption is not None:
            check_text("A caption", caption)
        values["caption"] = caption
    if metadata is not UNSET:
        check_metadata(metadata)
        values["metadata"] = plain_json(metadata)
    collection_id = collection_named(connection, collection).id
    require_collection(connection, collection_id)
    for state in ("live", "pending"):
        where = _by_ids(collection_id, state, [image_id])
        if values:
            connection.execute(update(IMAGES).where(*where).values(values))
    bump_version(connection, collection_id)
    return one(connection, collection, image_id)


def _by_ids(collection_id: int, state: str, image_ids: Sequence[str]) -> list[ColumnElement[bool]]:
    """Equality on the state, so that the partial index of that state serves."""
    return [
        ImageRow.collection_id == collection_id,
        ImageRow.state == state,
        ImageRow.image_id.in_(image_ids),
    ]


def delete(
    connection: Connection,
    now: float,
    collection_id: int,
    ids: Sequence[str] | None,
    filter: Filter | None,
    job_id: str | None,
) -> int:
    """How many ids lost a version. A filter speaks of live images; ids may be pending or failed ones too."""
    if ids is None and filter is None:
        raise InputError("Say which images to delete: ids, a filter, or both")
    require_collection(connection, collection_id)
    gone = _delete(connection, now, collection_id, ids, filter)
    if job_id is not None:
        values = {"deleted": JobRow.deleted + len(gone), "updated_at": now}
        connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
    return len(gone)


def _delete(
    connection: Connection, now: float, collection_id: int, ids: Sequence[str] | None, filter: Filter | None
) -> set[str]:
    match = [] if filter is None else [condition(filter, connection.dialect.name)]
    gone: set[str] = set()
    if ids is None:
        live = [ImageRow.collection_id == collection_id, ImageRow.state == "live"]
        gone.update(_bury_where(connection, now, [*live, *match]))
    else:
        for chunk in chunks(sorted(set(ids))):
            gone.update(_bury_where(connection, now, [*_by_ids(collection_id, "live", chunk), *match]))
    others = sorted(gone) if filter is not None else sorted(set(ids or ()))
    if gone:
        bump_version(connection, collection_id)
    gone.update(_discard(connection, collection_id, others))
    return gone


def _bury_where(connection: Connection, now: float, where: Sequence[ColumnElement[bool]]) -> list[str]:
    statement = update(ImageRow).where(*where).values(state="buried", buried_at=now)
    return list(connection.scalars(statement.returning(ImageRow.image_id)))


def _discard(connection: Connection, collection_id: int, image_ids: Sequence[str]) -> set[str]:
    """Pending and failed versions of these ids; the ids that had one."""
    found: set[str] = set()
    for chunk in chunks(image_ids):
        for state in ("pending", "failed"):
            statement = update(ImageRow).where(*_by_ids(collection_id, state, chunk))
            found.update(connection.scalars(statement.values(state="discarded").returning(ImageRow.image_id)))
    return found


# What every search asks is put together once: that takes longer than running it.
_DESCRIBED = select(IMAGES).where(
    ImageRow.key.in_(bindparam("keys", expanding=True)),
    ImageRow.collection_id == bindparam("collection"),
    ImageRow.state == "live",
)
_LOCATION = (
    select(ImageRow.key, ImageRow.sha256, SegmentRow.id, SegmentRow.file, IMAGES.c.row, SegmentRow.codec)
    .join(SegmentRow, SegmentRow.id == ImageRow.segment_id)
    .where(ImageRow.row.is_not(None))
)
_LOCATED = _LOCATION.where(ImageRow.key.in_(bindparam("keys", expanding=True)))


def describe(connection: Connection, collection_id: int, keys: Sequence[int]) -> dict[int, Image]:
    found: dict[int, Image] = {}
    for chunk in chunks(plain_keys(keys)):
        rows = connection.execute(_DESCRIBED, {"keys": chunk, "collection": collection_id}).all()
        images = [image_record(row) for row in rows]
        found.update((image.key, image) for image in images)
    return found


def locations(connection: Connection, keys: Sequence[int]) -> dict[int, ImageLocation]:
    """Of live and of dead keys: a search that began before a replacement can still read what it found."""
    found: dict[int, ImageLocation] = {}
    for chunk in chunks(plain_keys(keys)):
        for key, _, segment, file, row, codec in connection.execute(_LOCATED, {"keys": chunk}):
            found[key] = ImageLocation(key, segment, file, row, codec)
    return found


def live_by_sha(connection: Connection, collection_id: int, shas: Sequence[str]) -> dict[str, ImageLocation]:
    """One live location per SHA-256: bytes that are embedded already, under whatever id."""
    found: dict[str, ImageLocation] = {}
    for chunk in chunks(sorted(set(shas))):
        query = _LOCATION.where(
            ImageRow.collection_id == collection_id, ImageRow.state == "live", ImageRow.sha256.in_(chunk)
        )
        for key, sha, segment, file, row, codec in connection.execute(query.order_by(ImageRow.key)):
            found.setdefault(sha, ImageLocation(key, segment, file, row, codec))
    return found
