"""What webhooks are to be told: taken under a lease of its search, tried a number of times, in order."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from sightline.store.saved_records import Delivery, SavedMember
from sightline.store.schema import CollectionRow, ImageRow
from sightline.store.schema_saved import SavedDeliveryRow, SavedMemberRow, SavedSearchRow
from sightline.store.sql.rows import LIVING, is_in
from sightline.store.values import printable


def take(connection: Connection, now: float, seconds: float) -> Delivery | None:
    """The call that is due longest, counted as tried; its search is the caller's for so many seconds.

    None: nothing is due. A member whose picture is in the trash waits there; one of a collection in the trash
    does, too.
    """
    first = (
        select(SavedDeliveryRow.search_id, func.min(SavedDeliveryRow.member_id).label("member_id"))
        .join(SavedMemberRow, SavedMemberRow.id == SavedDeliveryRow.member_id)
        .join(ImageRow, ImageRow.key == SavedMemberRow.key)
        .where(SavedDeliveryRow.failed.is_(False), is_in("live"))
        .group_by(SavedDeliveryRow.search_id)
        .subquery()
    )
    due = (
        select(SavedSearchRow.id, first.c.member_id)
        .join(first, first.c.search_id == SavedSearchRow.id)
        .where(SavedSearchRow.due_at <= now, SavedSearchRow.webhook.is_not(None))
        .where(SavedSearchRow.collection_id.in_(LIVING))
        .order_by(SavedSearchRow.due_at, SavedSearchRow.id)
    )
    for row in connection.execute(due).all():
        held = (SavedSearchRow.id == row.id, SavedSearchRow.due_at <= now)
        if connection.execute(update(SavedSearchRow).where(*held).values(due_at=now + seconds)).rowcount:
            this = SavedDeliveryRow.member_id == row.member_id
            tried = update(SavedDeliveryRow).where(this).values(attempts=SavedDeliveryRow.attempts + 1)
            if connection.execute(tried).rowcount:
                return _delivery(connection, row.member_id)
    return None


def _delivery(connection: Connection, member_id: int) -> Delivery | None:
    member = (SavedMemberRow.id, SavedMemberRow.key, ImageRow.image_id, SavedMemberRow.probability)
    query = (
        select(
            *member, SavedMemberRow.joined_at, SavedSearchRow.id, CollectionRow.name, SavedSearchRow.name,
            SavedSearchRow.webhook, SavedSearchRow.secret, SavedDeliveryRow.token, SavedDeliveryRow.attempts,
            SavedSearchRow.failures,
        )
        .join(ImageRow, ImageRow.key == SavedMemberRow.key)
        .join(SavedDeliveryRow, SavedDeliveryRow.member_id == SavedMemberRow.id)
        .join(SavedSearchRow, SavedSearchRow.id == SavedMemberRow.search_id)
        .join(CollectionRow, CollectionRow.id == SavedSearchRow.collection_id)
        .where(SavedMemberRow.id == member_id)
    )  # fmt: skip
    row = connection.execute(query).one_or_none()
    return None if row is None else Delivery(SavedMember(*tuple(row)[:5]), *tuple(row)[5:])


def told(connection: Connection, now: float, delivery: Delivery) -> None:
    """The receiver has answered; the next call of this search may come at once."""
    own = (SavedSearchRow.id == delivery.search_id, SavedSearchRow.webhook == delivery.url)
    values = {
        "due_at": now,
        "failures": 0,
        "webhook_trouble": None,
        "delivered": SavedSearchRow.delivered + 1,
        "delivered_at": now,
    }
    connection.execute(update(SavedSearchRow).where(*own).values(values))
    connection.execute(delete(SavedDeliveryRow).where(_of(delivery)))


def not_told(
    connection: Connection, now: float, delivery: Delivery, sentence: str, seconds: float, most: int
) -> None:
    """The call failed: its search rests for so long, and what was tried ``most`` times is given up."""
    own = (SavedSearchRow.id == delivery.search_id, SavedSearchRow.webhook == delivery.url)
    values = {
        "due_at": now + seconds,
        "failures": SavedSearchRow.failures + 1,
        "webhook_trouble": printable(sentence),
    }
    connection.execute(update(SavedSearchRow).where(*own).values(values))
    if delivery.attempts >= most:
        connection.execute(update(SavedDeliveryRow).where(_of(delivery)).values(failed=True))


def _of(delivery: Delivery) -> ColumnElement[bool]:
    """This very call, whatever was saved since."""
    return and_(SavedDeliveryRow.member_id == delivery.member.id, SavedDeliveryRow.token == delivery.token)
