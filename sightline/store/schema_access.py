"""The table of the keys that open the HTTP API."""

from __future__ import annotations

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from sightline.store.schema_base import Base, Json, Time, when

LIVING = "revoked_at IS NULL"


class KeyRow(Base):
    """A key that somebody was given: what proves it is not in here, only the SHA-256 of that.

    ``collections``: the names that it is bound to; null: all. A revoked key stays, for whoever looks later.
    """

    __tablename__ = "keys"
    __table_args__ = (Index("ix_keys_name", "name", unique=True, **when(LIVING)),)

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(Text)
    collections: Mapped[list[str] | None] = mapped_column(Json)
    created_at: Mapped[float] = mapped_column(Time)
    expires_at: Mapped[float | None] = mapped_column(Time)
    revoked_at: Mapped[float | None] = mapped_column(Time)
    last_used_at: Mapped[float | None] = mapped_column(Time)
