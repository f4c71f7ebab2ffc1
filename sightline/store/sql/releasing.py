"""The end of images, and what becomes of their bytes.

A row never goes alone: in the same transaction its key becomes dead wherever it is placed, its texts and the
values of its fields go, and its bytes are released. Whether another row still wants the bytes is asked when
the builder comes for them, not here: two transactions that end the last two rows of the same bytes would each
see the other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from sqlalchemy import ColumnElement, Connection, bindparam, delete, exists, literal, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from sightline.store.schema import REFERRING, TRASHED, ImageRow, PlacementRow
from sightline.store.schema_duplicates import PictureHashRow
from sightline.store.schema_saved import SavedMemberRow
from sightline.store.schema_texts import TextRow
from sightline.store.schema_upkeep import ReleasedBlobRow
from sightline.store.sql.fields import forgetting
from sightline.store.sql.rows import IMAGES, RELEASED_BLOBS, chunks, update_many
from sightline.store.sql.saved import forget_members

Where = Sequence[ColumnElement[bool]]
"""Conditions on ``images``."""
IS_TRASHED = cast("ColumnElement[bool]", text(f"images.{TRASHED}"))
"""Written out: SQLite uses a partial index only where its very condition stands."""


def bury(connection: Connection, now: float, where: Where) -> list[str]:
    """The live images that match are live no more; their ids."""
    live = [*where, ImageRow.state == "live"]
    release(connection, now, live)
    _forget_said(connection, live)
    placed = update(PlacementRow).where(PlacementRow.key.in_(select(ImageRow.key).where(*live)))
    connection.execute(placed.values(dead=True))
    buried = update(ImageRow).where(*live).values(state="buried", buried_at=now)
    return list(connection.scalars(buried.returning(ImageRow.image_id)))


def to_trash(connection: Connection, now: float, where: Where) -> list[str]:
    """The live images that match are found no more, and keep all that they have; their ids."""
    live = [*where, ImageRow.state == "live"]
    placed = update(PlacementRow).where(PlacementRow.key.in_(select(ImageRow.key).where(*live)))
    connection.execute(placed.values(dead=True))
    trashed = update(ImageRow).where(*live).values(state="trashed", trashed_at=now)
    return list(connection.scalars(trashed.returning(ImageRow.image_id)))


def bury_trashed(connection: Connection, now: float, where: Where) -> list[str]:
    """The trashed images that match can be had back no more; their ids."""
    trashed = [*where, IS_TRASHED]
    release(connection, now, trashed)
    _forget_said(connection, trashed)
    buried = update(ImageRow).where(*trashed).values(state="buried", buried_at=now, trashed_at=None)
    return list(connection.scalars(buried.returning(ImageRow.image_id)))


def bury_keys(connection: Connection, now: float, keys: Iterable[int]) -> list[str]:
    return [name for chunk in chunks(keys) for name in bury(connection, now, [ImageRow.key.in_(chunk)])]


def discard(connection: Connection, now: float, where: Where) -> list[str]:
    """The pending and failed images that match are given up; their ids. ``where`` names the state."""
    if not connection.scalar(select(exists().where(*where))):  # mostly: nothing else is asked then
        return []
    release(connection, now, where)
    _forget_said(connection, where)
    statement = update(ImageRow).where(*where).values(state="discarded")
    return list(connection.scalars(statement.returning(ImageRow.image_id)))


def _forget_said(connection: Connection, where: Where) -> None:
    """Nothing is said any more of what nobody can have back: no text, no value that filters find, no hash."""
    keys = select(ImageRow.key).where(*where)
    connection.execute(delete(TextRow).where(TextRow.key.in_(keys)))
    connection.execute(forgetting(keys))
    forget_members(connection, SavedMemberRow.key.in_(keys))
    connection.execute(delete(PictureHashRow).where(PictureHashRow.key.in_(keys)))


def release(connection: Connection, now: float, where: Where) -> None:
    """Notes the bytes of these images as released now. In order, so that two transactions seldom deadlock."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    shas = select(ImageRow.sha256, literal(now)).where(*where, ImageRow.sha256 != "")
    statement = upsert(RELEASED_BLOBS).from_select(
        ["sha256", "since"], shas.distinct().order_by(ImageRow.sha256)
    )
    again = {"since": statement.excluded.since}
    connection.execute(statement.on_conflict_do_update(index_elements=["sha256"], set_=again))


def _wanted(sha256: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether any row of any collection refers to these bytes."""
    return exists().where(IMAGES.c.sha256 == sha256, text(f"images.{REFERRING}"))


_IS_WANTED = select(_wanted(bindparam("sha256")))


def is_referenced(connection: Connection, sha256: str) -> bool:
    """Whether an image of any collection has these bytes, or one in a trash."""
    return bool(connection.scalar(_IS_WANTED, {"sha256": sha256}))


def releasable(connection: Connection, before: float, limit: int) -> list[str]:
    """SHA-256 of bytes released before that time (epoch seconds) that no image has any more, oldest first.

    What is wanted again, or still, is struck off the list of the released first.
    """
    old = ReleasedBlobRow.since < before
    connection.execute(delete(ReleasedBlobRow).where(old, _wanted(RELEASED_BLOBS.c.sha256)))
    query = select(ReleasedBlobRow.sha256).where(old).order_by(ReleasedBlobRow.since, ReleasedBlobRow.sha256)
    return list(connection.scalars(query.limit(limit)))


def forget(connection: Connection, shas: Sequence[str], before: float) -> None:
    """Their files are gone. What was released again since then stays on the list."""
    for chunk in chunks(sorted(shas)):
        gone = (ReleasedBlobRow.sha256.in_(chunk), ReleasedBlobRow.since < before)
        connection.execute(delete(ReleasedBlobRow).where(*gone))


def unnamed_blobs(connection: Connection, shas: Sequence[str]) -> list[str]:
    """Those of these bytes that no image has, and that are not known as released: nobody ever named them."""
    known: set[str] = set()
    for chunk in chunks(shas):
        wanted = select(IMAGES.c.sha256).where(IMAGES.c.sha256.in_(chunk), text(f"images.{REFERRING}"))
        known.update(connection.scalars(wanted))
        released = select(ReleasedBlobRow.sha256).where(ReleasedBlobRow.sha256.in_(chunk))
        known.update(connection.scalars(released))
    return [sha256 for sha256 in shas if sha256 not in known]


def release_blobs(connection: Connection, now: float, shas: Sequence[str]) -> None:
    """Bytes that were kept for a row that never came: released now, unless they are already."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    rows = [{"sha256": sha256, "since": now} for sha256 in sorted(shas)]
    update_many(connection, upsert(RELEASED_BLOBS).on_conflict_do_nothing(), rows)
