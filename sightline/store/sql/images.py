"""Images: reading, listing, changing, deleting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, select, update
from sqlalchemy.sql.selectable import Select

from sightline.errors import InputError, NotFoundError
from sightline.store.conditions import Filter
from sightline.store.records import UNSET, Image, ImageState, Metadata, Page, Unset
from sightline.store.schema import ImageRow
from sightline.store.schema_work import JobRow
from sightline.store.sql.fields import rewrite_values
from sightline.store.sql.filter_sql import condition
from sightline.store.sql.filtering import filter_keys
from sightline.store.sql.given import follow
from sightline.store.sql.releasing import discard, to_trash
from sightline.store.sql.rows import (
    CHUNK,
    IMAGES,
    SELECT_IMAGES,
    among,
    bump_version,
    chunks,
    collection_named,
    image_record,
    is_in,
    next_version,
    plain_keys,
    require_collection,
)
from sightline.store.sql.spelled import as_stored
from sightline.store.told import Room
from sightline.store.values import check_metadata, check_text, plain_json

MAX_PAGE = 1_000
MANY: Final = 50_000
"""Images that one statement deletes; their ids are in memory."""


def one(connection: Connection, collection: str, image_id: str) -> Image:
    """The live version, else the pending one, else the failed one; NotFoundError.

    An id that no image has may stand for one in another Unicode form (``sightline.store.sql.spelled``), here
    and in ``change`` and ``delete``.
    """
    number = collection_named(connection, collection).id
    found = _one(connection, number, image_id)
    if found is None:
        [stored] = as_stored(connection, number, [image_id])
        found = None if stored == image_id else _one(connection, number, stored)
    if found is None:
        raise NotFoundError(f"Collection {collection!r} has no image {image_id!r}.")
    return found


def _one(connection: Connection, collection_id: int, image_id: str) -> Image | None:
    for state in ("live", "pending", "failed"):  # one at a time: each has an index of its own
        query = SELECT_IMAGES.where(*_by_ids(collection_id, state, [image_id]))
        row = connection.execute(query.order_by(ImageRow.key.desc()).limit(1)).one_or_none()
        if row is not None:
            return image_record(row)
    return None


def page(
    connection: Connection,
    collection: str,
    cursor: str | None = None,
    limit: int = 50,
    filter: Filter | None = None,
    state: ImageState = "live",
    most_bytes: int | None = None,
) -> Page:
    """A page by key, so that it stays valid while images come and go.

    ``cursor``: where the page before ended. Before an image with more than ``most_bytes`` of captions and
    metadata the page ends too, but for its first. InputError for a foreign cursor or a wrong limit.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InputError(f"A page has 1 to {MAX_PAGE} images, not {limit}.")
    where = [
        ImageRow.collection_id == collection_named(connection, collection).id,
        ImageRow.state == state,
        ImageRow.key > _after(cursor),
    ]
    if filter is not None:
        where.append(condition(filter, connection.dialect.name))
    query = SELECT_IMAGES.where(*where).order_by(ImageRow.key).limit(limit + 1)
    items, room = list[Image](), Room(most_bytes)
    with connection.execute(query) as rows:
        for row in rows:
            image = image_record(row)
            if len(items) == limit or (not room.takes(image.caption, image.metadata) and items):
                return Page(items, str(items[-1].key))
            items.append(image)
    return Page(items, None)


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InputError(f"{cursor!r} is not a cursor that this listing gave.")
    return int(cursor)


def change(
    connection: Connection,
    now: float,
    collection: str,
    image_id: str,
    caption: str | Unset | None = UNSET,
    metadata: Metadata | Unset = UNSET,
) -> Image:
    """Sets the caption and/or the whole metadata of the live image; NotFoundError.

    And of a pending version, so that the change outlives a replacement that is under way.
    """
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
    stored = as_stored(connection, collection_id, [image_id])
    if values:
        values["changed"] = next_version(connection, collection_id)
        _change(connection, now, collection_id, stored, values)
    bump_version(connection, collection_id)
    return one(connection, collection, image_id)


def _change(
    connection: Connection, now: float, collection_id: int, stored: Sequence[str], values: Mapping[str, Any]
) -> None:
    """What is said of these images follows; no filter finds a pending one."""
    for state in ("live", "pending"):
        where = _by_ids(collection_id, state, stored)
        changed = update(IMAGES).where(*where).values(values).returning(IMAGES.c.key)
        keys = list(connection.scalars(changed))
        follow(connection, now, keys)
        if state == "live" and "metadata" in values:
            rewrite_values(connection, collection_id, keys)


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
    ids: Sequence[str] | None = None,
    filter: Filter | None = None,
    job_id: str | None = None,
) -> int:
    """Moves live images by id and/or filter to the trash and discards other versions of them.

    Returns how many ids lost one. A filter speaks of live images; ids may be pending or failed ones too.
    ``job_id``: the job that counts it.
    """
    if ids is None and filter is None:
        raise InputError("Say which images to delete: ids, a filter, or both.")
    require_collection(connection, collection_id)
    ids = None if ids is None else as_stored(connection, collection_id, ids)
    gone = _delete(connection, now, collection_id, ids, filter)
    if job_id is not None:
        values = {"deleted": JobRow.deleted + len(gone), "updated_at": now}
        connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
    return len(gone)


def _delete(
    connection: Connection, now: float, collection_id: int, ids: Sequence[str] | None, filter: Filter | None
) -> set[str]:
    gone: set[str] = set()
    if filter is not None:
        # Its keys first: what follows asks twice, and a filter may be slow.
        for chunk in chunks(_matching(connection, collection_id, ids, filter), MANY):
            gone.update(to_trash(connection, now, [among(IMAGES.c.key, chunk, connection.dialect.name)]))
    else:
        for named in chunks(sorted(set(ids or ()))):
            gone.update(to_trash(connection, now, _by_ids(collection_id, "live", named)))
    others = sorted(gone) if filter is not None else sorted(set(ids or ()))
    if gone:
        bump_version(connection, collection_id)
    gone.update(_discard(connection, now, collection_id, others))
    return gone


def _matching(
    connection: Connection, collection_id: int, ids: Sequence[str] | None, filter: Filter
) -> list[int]:
    """Keys of the live images, all or those with these ids, that the filter matches."""
    if ids is None:
        return plain_keys(filter_keys(connection, collection_id, filter))
    match = condition(filter, connection.dialect.name)
    named = (_by_ids(collection_id, "live", chunk) for chunk in chunks(sorted(set(ids))))
    return [key for one in named for key in connection.scalars(select(ImageRow.key).where(*one, match))]


def _discard(connection: Connection, now: float, collection_id: int, image_ids: Sequence[str]) -> set[str]:
    """Pending and failed versions of these ids; the ids that had one."""
    found: set[str] = set()
    for state in ("pending", "failed"):
        if len(image_ids) > CHUNK and not _has(connection, collection_id, state):
            continue
        for chunk in chunks(image_ids):
            found.update(discard(connection, now, _by_ids(collection_id, state, chunk)))
    return found


def _has(connection: Connection, collection_id: int, state: str) -> bool:
    """Whether the collection has any image in this state."""
    some = select(ImageRow.key).where(ImageRow.collection_id == collection_id, is_in(state)).limit(1)
    return connection.scalar(some) is not None


# What every search asks is put together once: that takes longer than running it.
_DESCRIBED = SELECT_IMAGES.where(
    ImageRow.key.in_(bindparam("keys", expanding=True)),
    ImageRow.collection_id == bindparam("collection"),
    ImageRow.state == "live",
)
_KEPT = SELECT_IMAGES.where(
    ImageRow.key.in_(bindparam("keys", expanding=True)),
    ImageRow.collection_id == bindparam("collection"),
    ImageRow.state.in_(("live", "trashed")),
)
# An answer is of one version: what was replaced or deleted since it was found is described as it was. Only
# what was purged is not: it has no bytes any more.
_FOUND = SELECT_IMAGES.where(
    ImageRow.key.in_(bindparam("keys", expanding=True)),
    ImageRow.collection_id == bindparam("collection"),
    ImageRow.state.in_(("live", "trashed", "buried")),
    ImageRow.sha256 != "",
)


def describe(connection: Connection, collection_id: int, keys: Sequence[int]) -> dict[int, Image]:
    """Live images by key; what was deleted or replaced meanwhile is absent."""
    return _described(connection, _DESCRIBED, collection_id, keys)


def describe_found(
    connection: Connection,
    collection_id: int,
    keys: Sequence[int],
    most_bytes: int | None = None,
    matched: Mapping[int, str] | None = None,
) -> dict[int, Image]:
    """As `describe`, of keys that a search found alive: they may be buried or in the trash by now.

    ``matched``: key → a text that the answer tells besides. Raises InputError when captions, metadata and
    these have more than ``most_bytes``.
    """
    return _described(connection, _FOUND, collection_id, keys, most_bytes, matched)


def _described(
    connection: Connection,
    query: Select[Any],
    collection_id: int,
    keys: Sequence[int],
    most_bytes: int | None = None,
    matched: Mapping[int, str] | None = None,
) -> dict[int, Image]:
    found, room = dict[int, Image](), Room(most_bytes)
    for chunk in chunks(plain_keys(keys)):
        with connection.execute(query, {"keys": chunk, "collection": collection_id}) as rows:
            for row in rows:
                image = found[row.key] = image_record(row)
                said = None if matched is None else matched.get(row.key)
                if not room.takes(image.caption, image.metadata, said):
                    raise InputError(
                        f"The captions, metadata and matched texts of these results have more than "
                        f"{most_bytes:,} bytes: ask for fewer at once (limit, offset)."
                    )
    return found


def kept(connection: Connection, collection_id: int, keys: Sequence[int]) -> dict[int, Image]:
    """As ``describe``, and those in the trash."""
    return _described(connection, _KEPT, collection_id, keys)
