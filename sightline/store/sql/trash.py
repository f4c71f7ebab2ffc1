"""The trash: what was deleted and can be had back, images and whole collections.

A trashed image keeps its segment, its row and its bytes; only its placements are dead. So it comes back in
one transaction, without the model, whatever was folded, merged or rewritten meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update
from sqlalchemy.exc import IntegrityError

from sightline.errors import ConflictError, NotFoundError
from sightline.store.records import Collection
from sightline.store.schema import CollectionRow, FeatureSetRow, ImageRow, PlacementRow
from sightline.store.sql.collections import remove
from sightline.store.sql.purging import begin_collection
from sightline.store.sql.releasing import IS_TRASHED, bury_trashed
from sightline.store.sql.rows import (
    bump_version,
    chunks,
    collection_named,
    lock_collection,
    next_version,
    require_collection,
)
from sightline.store.sql.spelled import as_stored
from sightline.store.trash_records import Restored, TrashedCollection
from sightline.store.values import check_collection_name
from sightline.store.work_records import ItemError

# --- images -----------------------------------------------------------------------------------------------


def restore(connection: Connection, collection_id: int, ids: Sequence[str] | None = None) -> Restored:
    """Makes trashed images live again: those with these ids, or all (None). Of several versions the newest.

    An id that a live or pending image has meanwhile is refused, and so is one that is not in the trash; the
    others come back. An id in another Unicode form is understood (``sightline.store.sql.spelled``).
    """
    require_collection(connection, collection_id)
    ids = None if ids is None else as_stored(connection, collection_id, ids)
    found = _newest(connection, collection_id, ids)
    taken = _taken(connection, collection_id, sorted(found))
    keys = [key for image_id, key in sorted(found.items()) if image_id not in taken]
    live = {"state": "live", "trashed_at": None, "changed": next_version(connection, collection_id)}
    for chunk in chunks(keys):
        placed = update(PlacementRow).where(PlacementRow.key.in_(chunk), PlacementRow.row.is_not(None))
        connection.execute(placed.values(dead=False))
        images = update(ImageRow).where(ImageRow.key.in_(chunk))
        connection.execute(images.values(live))
    if keys:
        bump_version(connection, collection_id)
    refused = [_refusal(image_id, taken[image_id]) for image_id in sorted(taken)]
    refused += [_missing(image_id) for image_id in sorted(set(ids or ()) - found.keys())]
    return Restored([image_id for image_id in sorted(found) if image_id not in taken], refused)


def _newest(connection: Connection, collection_id: int, ids: Sequence[str] | None) -> dict[str, int]:
    """image id → key of the version that was trashed last."""
    query = select(ImageRow.image_id, ImageRow.key).where(*_in_trash(collection_id))
    query = query.order_by(ImageRow.trashed_at, ImageRow.key)
    if ids is None:
        return {row.image_id: row.key for row in connection.execute(query)}
    found: dict[str, int] = {}
    for chunk in chunks(sorted(set(ids))):
        found.update((row.image_id, row.key) for row in connection.execute(query.where(_named(chunk))))
    return found


def _taken(connection: Connection, collection_id: int, ids: Sequence[str]) -> dict[str, str]:
    """image id → the state of the version that has it now."""
    found: dict[str, str] = {}
    for chunk in chunks(ids):
        for state in ("live", "pending"):  # one at a time: each has an index of its own
            here = (ImageRow.collection_id == collection_id, ImageRow.state == state, _named(chunk))
            found.update((name, state) for name in connection.scalars(select(ImageRow.image_id).where(*here)))
    return found


def _refusal(image_id: str, state: str) -> ItemError:
    what = "a live image has" if state == "live" else "an image that is being indexed has"
    detail = f"It stays in the trash, for {what} the id {image_id!r} by now: delete that one first."
    return ItemError(image_id, "id_taken", detail)


def _missing(image_id: str) -> ItemError:
    return ItemError(image_id, "not_found", f"There is no image {image_id!r} in the trash.")


def _in_trash(collection_id: int) -> tuple[ColumnElement[bool], ...]:
    return (ImageRow.collection_id == collection_id, IS_TRASHED)


def _named(ids: Sequence[str]) -> ColumnElement[bool]:
    return ImageRow.image_id.in_(ids)


def empty(
    connection: Connection, now: float, collection_id: int, ids: Sequence[str] | None = None
) -> list[str]:
    """Gives up trashed images for good, those with these ids or all (None); the id of each.

    Their rows and bytes go as those of replaced images do.
    """
    require_collection(connection, collection_id)
    here = _in_trash(collection_id)
    if ids is None:
        gone = bury_trashed(connection, now, here)
    else:
        some = chunks(sorted(set(ids)))
        gone = [name for chunk in some for name in bury_trashed(connection, now, [*here, _named(chunk)])]
    if gone:
        bump_version(connection, collection_id)
    return gone


def expire(connection: Connection, now: float, seconds: float) -> int:
    """Gives up what has been in the trash that long, images and collections; how many images that were.

    A collection's age is that of its own deletion: its images stay with it, however old.
    """
    count = 0
    old = select(CollectionRow.id).where(CollectionRow.trashed_at <= now - seconds)
    # Locked by the very query that finds them: what is restored at this moment is not among them.
    for collection_id in list(connection.scalars(old.order_by(CollectionRow.id).with_for_update())):
        living = (ImageRow.collection_id == collection_id, ImageRow.state.in_(("live", "trashed")))
        count += connection.scalar(select(func.count()).select_from(ImageRow).where(*living)) or 0
        remove(connection, now, collection_id)
    due = (ImageRow.trashed_at <= now - seconds, CollectionRow.trashed_at.is_(None))
    holders = select(ImageRow.collection_id).join(CollectionRow, CollectionRow.id == ImageRow.collection_id)
    for collection_id in sorted(set(connection.scalars(holders.where(IS_TRASHED, *due).distinct()))):
        lock_collection(connection, collection_id)
        where = [ImageRow.collection_id == collection_id, ImageRow.trashed_at <= now - seconds]
        count += len(bury_trashed(connection, now, where))
        bump_version(connection, collection_id)
    return count


# --- collections ------------------------------------------------------------------------------------------


def delete_collection(connection: Connection, now: float, name: str) -> None:
    """Moves it to the trash with all that it has; NotFoundError. Its name is free from now on.

    What waits to be embedded waits on, and is embedded once the collection is restored.
    """
    collection = collection_named(connection, name)
    require_collection(connection, collection.id)
    values = {"name": f"~{collection.id}~{name}", "trashed_name": name, "trashed_at": now}
    connection.execute(update(CollectionRow).where(CollectionRow.id == collection.id).values(values))


def trashed(connection: Connection) -> list[TrashedCollection]:
    """All deleted collections that can be restored, the newest first."""
    counted = (
        select(ImageRow.collection_id, ImageRow.state, func.count())
        .join(CollectionRow, CollectionRow.id == ImageRow.collection_id)
        .where(CollectionRow.trashed_at.is_not(None))
        .group_by(ImageRow.collection_id, ImageRow.state)
    )
    counts = {(number, state): count for number, state, count in connection.execute(counted)}
    serving = (FeatureSetRow.collection_id == CollectionRow.id) & FeatureSetRow.serving
    query = select(CollectionRow, FeatureSetRow.model).join(FeatureSetRow, serving)
    query = query.where(CollectionRow.trashed_at.is_not(None))
    newest = query.order_by(CollectionRow.trashed_at.desc(), CollectionRow.id.desc())
    found: list[TrashedCollection] = []
    for row in connection.execute(newest.with_only_columns(*_TRASHED_COLUMNS)):
        images, pending = counts.get((row.number, "live"), 0), counts.get((row.number, "pending"), 0)
        found.append(TrashedCollection(row.id, row.trashed_name, row.model, images, pending, row.trashed_at))
    return found


_TRASHED_COLUMNS: tuple[Any, ...] = (
    CollectionRow.id.label("number"),
    CollectionRow.name.label("id"),
    CollectionRow.trashed_name,
    FeatureSetRow.model,
    CollectionRow.trashed_at,
)


def _trashed_number(connection: Connection, name: str) -> tuple[int, str]:
    """Number and own name of the deleted collection with this id, or of the newest with this name, locked."""
    newest = (CollectionRow.trashed_at.desc(), CollectionRow.id.desc())
    query = select(CollectionRow.id, CollectionRow.trashed_name).where(CollectionRow.trashed_at.is_not(None))
    for wanted in (CollectionRow.name == name, CollectionRow.trashed_name == name):
        first = query.where(wanted).order_by(*newest).limit(1)
        row = connection.execute(first.with_for_update(key_share=True)).one_or_none()
        if row is not None:
            return row.id, row.trashed_name
    raise NotFoundError(f"There is no deleted collection {name!r} in the trash.")


def restore_collection(connection: Connection, name: str, new_name: str | None = None) -> Collection:
    """Brings a deleted collection back, under another name when one is given.

    ``name``: its id in the trash, or its own, which means the newest that had it. Raises NotFoundError,
    InputError for a new name that breaks the rule, and ConflictError when another collection has the name.
    """
    number, own = _trashed_number(connection, name)
    if new_name is not None:
        check_collection_name(new_name)
    wanted = new_name or own
    taken = ConflictError(
        f"There is a collection {wanted!r} by now: restore the deleted one under another name, --as NAME."
    )
    if connection.scalar(select(CollectionRow.id).where(CollectionRow.name == wanted)) is not None:
        raise taken
    values = {"name": wanted, "trashed_name": None, "trashed_at": None}
    try:
        connection.execute(update(CollectionRow).where(CollectionRow.id == number).values(values))
    except IntegrityError as error:  # somebody else was faster since the question
        raise taken from error
    bump_version(connection, number)
    return collection_named(connection, wanted)


def empty_collection(connection: Connection, now: float, name: str) -> None:
    """Gives up a deleted collection for good (see ``restore_collection`` for its name); NotFoundError."""
    remove(connection, now, _trashed_number(connection, name)[0])


def begin_trashed_purge(connection: Connection, now: float, name: str) -> None:
    """As ``empty_collection``, and nothing of it is to be left; NotFoundError."""
    begin_collection(connection, now, _trashed_number(connection, name)[0])
