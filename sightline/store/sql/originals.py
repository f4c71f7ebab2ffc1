"""Whose bytes are wanted: every content that an image refers to, with all its images."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, or_, select, text

from sightline.store.schema import REFERRING
from sightline.store.sql.rows import COLLECTIONS, IMAGES, SOURCES

STORED = "blob:"
"""What the address of a copied original begins with."""


@dataclass(frozen=True)
class Holder:
    """An image that wants these bytes, also one in the trash. ``source``: the address that it came from."""

    sha256: str
    key: int
    image_id: str
    collection: str
    uri: str
    bytes: int
    state: str
    source: str | None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.collection}/{self.image_id}"

    @property
    def stored(self) -> bool:
        """Whether our store holds its original, or some other place does."""
        return self.uri.startswith(STORED)


_NAME = func.coalesce(COLLECTIONS.c.trashed_name, COLLECTIONS.c.name)
_HOLDERS = (
    select(
        IMAGES.c.sha256, IMAGES.c.key, IMAGES.c.image_id, _NAME, IMAGES.c.uri, IMAGES.c.bytes,
        IMAGES.c.state, SOURCES.c.address,
    )
    .join(COLLECTIONS, COLLECTIONS.c.id == IMAGES.c.collection_id)
    .outerjoin(SOURCES, SOURCES.c.id == IMAGES.c.source_id)
    .where(text(f"images.{REFERRING}"), IMAGES.c.sha256 != "")
)  # fmt: skip


def holders(connection: Connection, after: Holder | None = None, limit: int = 1_000) -> list[Holder]:
    """A page of them by SHA-256, so that those of one content follow one another; ``after``: the last one."""
    query = _HOLDERS
    if after is not None:
        later = and_(IMAGES.c.sha256 == after.sha256, IMAGES.c.key > after.key)
        query = query.where(IMAGES.c.sha256 >= after.sha256, or_(IMAGES.c.sha256 > after.sha256, later))
    rows = connection.execute(query.order_by(IMAGES.c.sha256, IMAGES.c.key).limit(limit))
    return [Holder(*row) for row in rows]


def count_holders(connection: Connection) -> int:
    """How many there are."""
    where = (text(f"images.{REFERRING}"), IMAGES.c.sha256 != "")
    return connection.scalar(select(func.count()).select_from(IMAGES).where(*where)) or 0
