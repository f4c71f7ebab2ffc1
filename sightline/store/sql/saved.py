"""Saved searches: making, reading, changing and removing them, and their members."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from sightline.errors import ConflictError, InputError, NotFoundError
from sightline.store.records import UNSET, Unset
from sightline.store.saved_records import (
    BEGINNING,
    MemberPage,
    NewSavedSearch,
    SavedMember,
    SavedSearch,
    WebhookState,
)
from sightline.store.schema import CollectionRow, ImageRow
from sightline.store.schema_saved import SavedDeliveryRow, SavedMemberRow, SavedSearchRow
from sightline.store.sql.rows import is_in, require_collection
from sightline.store.values import COLLECTION_NAME, check_text, plain_json

MAX_PAGE: Final = 1_000
ANEW: Final[Mapping[str, Any]] = {
    "round": SavedSearchRow.round + 1,
    "judged_version": BEGINNING[0],
    "judged_key": BEGINNING[1],
}
"""Everything is to be judged, and who is judging now has done so in vain."""


def create(
    connection: Connection, now: float, collection_id: int, new: NewSavedSearch, most: int
) -> SavedSearch:
    """Saves it; all pictures are to be judged. NotFoundError for the collection.

    ConflictError: the name is taken, or the collection has ``most`` of them.
    """
    _check_name(new.name)
    require_collection(connection, collection_id)
    mine = select(SavedSearchRow.name).where(SavedSearchRow.collection_id == collection_id)
    names = set(connection.scalars(mine))
    if new.name in names:
        raise ConflictError(f"There is a saved search {new.name!r} in this collection already.")
    if len(names) >= most:
        raise ConflictError(
            f"This collection has {len(names)} saved searches, and no more may be: each is asked of every "
            "picture. Remove one, or raise SIGHTLINE_SAVED__MOST."
        )
    values = {**vars(new), "question": plain_json(dict(new.question))}
    values |= {"collection_id": collection_id, "created_at": now}
    connection.execute(insert(SavedSearchRow).values(values))
    return find(connection, collection_id, new.name)


def _check_name(name: object) -> None:
    check_text("The name of a saved search", name)
    if not isinstance(name, str) or not re.fullmatch(COLLECTION_NAME, name):
        raise InputError(
            f"A saved search cannot be called {name!a:.100}: a name is up to 63 English letters, digits, "
            "'.', '_' and '-', and begins with a letter or a digit."
        )


def every(connection: Connection, collection_id: int) -> list[SavedSearch]:
    """Those of a collection, by name."""
    mine = _SELECTED.where(SavedSearchRow.collection_id == collection_id).order_by(SavedSearchRow.name)
    return [_record(row) for row in connection.execute(mine)]


def find(connection: Connection, collection_id: int, name: str) -> SavedSearch:
    """The one of this name; NotFoundError."""
    this = (SavedSearchRow.collection_id == collection_id, SavedSearchRow.name == name)
    row = connection.execute(_SELECTED.where(*this)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no saved search {name!r} in this collection.")
    return _record(row)


def change(
    connection: Connection,
    collection_id: int,
    name: str,
    question: Mapping[str, Any],
    min_probability: float,
    webhook: str | Unset | None = UNSET,
    secret: str | None = None,
) -> SavedSearch:
    """Asks something else, from another probability on, or tells another webhook; NotFoundError.

    Of another question everything is judged anew and its members begin from none. A higher probability lets
    those go who are below, a lower one has everything judged anew. A webhook that is given (also the same)
    is tried again with what was given up; ``secret`` is that of one that had none. None: nobody is told.
    """
    require_collection(connection, collection_id)
    old = find(connection, collection_id, name)
    # Its row before those of its members, as whoever tells of them does.
    connection.execute(select(SavedSearchRow.id).where(SavedSearchRow.id == old.id).with_for_update())
    values: dict[str, Any] = {"question": plain_json(dict(question)), "min_probability": min_probability}
    if values["question"] != plain_json(dict(old.question)):
        forget_members(connection, SavedMemberRow.search_id == old.id)
        values |= {**ANEW, "judged_by": None, "trouble": None}
    elif min_probability < old.min_probability:
        values |= ANEW
    elif min_probability > old.min_probability:
        below = (SavedMemberRow.search_id == old.id, SavedMemberRow.probability < min_probability)
        forget_members(connection, and_(*below))
        values["round"] = SavedSearchRow.round + 1
    if not isinstance(webhook, Unset):
        values |= _told(connection, old, webhook, secret)
    connection.execute(update(SavedSearchRow).where(SavedSearchRow.id == old.id).values(values))
    return find(connection, collection_id, name)


def _told(
    connection: Connection, old: SavedSearch, webhook: str | None, secret: str | None
) -> dict[str, Any]:
    """What changes with a webhook; who was given up is told again, or nobody is."""
    own = SavedDeliveryRow.search_id == old.id
    if webhook is None:
        connection.execute(delete(SavedDeliveryRow).where(own))
    else:
        connection.execute(update(SavedDeliveryRow).where(own).values(failed=False, attempts=0))
    values: dict[str, Any] = {"webhook": webhook, "due_at": 0.0, "failures": 0, "webhook_trouble": None}
    if webhook is None or old.webhook is None:
        values["secret"] = None if webhook is None else secret
    return values


def remove(connection: Connection, collection_id: int, name: str) -> None:
    """With its members and what is to be told of them; NotFoundError."""
    require_collection(connection, collection_id)
    _remove(connection, SavedSearchRow.id == find(connection, collection_id, name).id)


def remove_all(connection: Connection, collection_id: int) -> None:
    """Those of a collection that goes."""
    _remove(connection, SavedSearchRow.collection_id == collection_id)


def _remove(connection: Connection, which: ColumnElement[bool]) -> None:
    # Its row first: whoever judges or tells holds it, and finds it gone.
    ids = list(connection.scalars(select(SavedSearchRow.id).where(which).with_for_update()))
    if ids:
        forget_members(connection, SavedMemberRow.search_id.in_(ids))
        connection.execute(delete(SavedSearchRow).where(SavedSearchRow.id.in_(ids)))


def forget_members(connection: Connection, which: ColumnElement[bool]) -> None:
    """They are members no more, and nobody is told of them."""
    gone = select(SavedMemberRow.id).where(which)
    connection.execute(delete(SavedDeliveryRow).where(SavedDeliveryRow.member_id.in_(gone)))
    connection.execute(delete(SavedMemberRow).where(which))


def members(
    connection: Connection, collection_id: int, name: str, cursor: str | None = None, limit: int = 50
) -> MemberPage:
    """Living pictures that fit, in the order of joining, behind ``cursor``.

    Raises NotFoundError, and InputError for a foreign cursor or a wrong limit.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InputError(f"A page has 1 to {MAX_PAGE:,} members, not {limit}.")
    search = find(connection, collection_id, name)
    found = members_after(connection, search.id, _after(cursor), limit + 1)
    more = len(found) > limit
    return MemberPage(found[:limit], str(found[limit - 1].id) if more else None)


def _after(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InputError(f"{cursor!r} is not a cursor that this listing gave.")
    return int(cursor)


def members_after(connection: Connection, search_id: int, after: int, limit: int) -> list[SavedMember]:
    """The next that joined; none of a search that is gone."""
    query = MEMBERS.where(SavedMemberRow.search_id == search_id, SavedMemberRow.id > after)
    rows: list[Any] = list(connection.execute(query.order_by(SavedMemberRow.id).limit(limit)))
    return [SavedMember(*row) for row in rows]


def last_member(connection: Connection, search_id: int) -> int | None:
    """The id of who joined last (0: nobody has); None when there is no such search (any more)."""
    if connection.scalar(select(SavedSearchRow.id).where(SavedSearchRow.id == search_id)) is None:
        return None
    last = select(func.max(SavedMemberRow.id)).where(SavedMemberRow.search_id == search_id)
    return connection.scalar(last) or 0


def behind(version: Any, key: Any) -> ColumnElement[bool]:
    """Whether a picture stands behind this position, and is to be judged."""
    return or_(ImageRow.changed > version, and_(ImageRow.changed == version, ImageRow.key > key))


def living(collection_id: Any) -> ColumnElement[bool]:
    """The pictures that searches of a collection see."""
    return and_(ImageRow.collection_id == collection_id, is_in("live"))


MEMBERS: Final = (
    select(
        SavedMemberRow.id,
        SavedMemberRow.key,
        ImageRow.image_id,
        SavedMemberRow.probability,
        SavedMemberRow.joined_at,
    )
    .join(ImageRow, ImageRow.key == SavedMemberRow.key)
    .where(is_in("live"), SavedMemberRow.probability.is_not(None))
)


def _counted(*where: ColumnElement[bool]) -> Any:
    """How many members, or what is to become one, are of living pictures."""
    query = select(func.count()).select_from(SavedMemberRow)
    query = query.join(ImageRow, ImageRow.key == SavedMemberRow.key)
    mine = SavedMemberRow.search_id == SavedSearchRow.id
    return query.where(mine, is_in("live"), *where).correlate(SavedSearchRow).scalar_subquery()


def _deliveries(failed: bool) -> Any:
    mine = (SavedDeliveryRow.search_id == SavedSearchRow.id, SavedDeliveryRow.failed.is_(failed))
    return select(func.count()).select_from(SavedDeliveryRow).where(*mine).scalar_subquery()


_PENDING = (
    select(func.count())
    .select_from(ImageRow)
    .where(
        living(SavedSearchRow.collection_id), behind(SavedSearchRow.judged_version, SavedSearchRow.judged_key)
    )
    .correlate(SavedSearchRow)
    .scalar_subquery()
)
_SELECTED: Final[Select[Any]] = select(
    SavedSearchRow.id,
    CollectionRow.name.label("collection"),
    SavedSearchRow.name,
    SavedSearchRow.question,
    SavedSearchRow.min_probability,
    SavedSearchRow.created_at,
    _counted(SavedMemberRow.probability.is_not(None)).label("members"),
    _PENDING.label("pending"),
    _counted(SavedMemberRow.probability.is_(None)).label("unjudged"),
    SavedSearchRow.trouble,
    SavedSearchRow.judged_by,
    SavedSearchRow.webhook,
    _deliveries(failed=False).label("waiting"),
    _deliveries(failed=True).label("failed"),
    SavedSearchRow.delivered,
    SavedSearchRow.delivered_at,
    SavedSearchRow.webhook_trouble,
).join(CollectionRow, CollectionRow.id == SavedSearchRow.collection_id)


def _record(row: Row[Any]) -> SavedSearch:
    found: tuple[Any, ...] = tuple(row)
    told = found[11:]
    webhook = None if told[0] is None else WebhookState(*told)
    return SavedSearch(*[*found[:11], webhook])
