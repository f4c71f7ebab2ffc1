"""The tables of saved searches: what is asked of every picture, who fits, and who is to be told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index, Integer, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from sightline.store.schema_base import NEVER_REUSED, WITHOUT_ROWID, Base, Id, Json, Time


class SavedSearchRow(Base):
    """A question that is asked of every picture of a collection.

    Pictures are judged in the order of (``images.changed``, key), which is that in which searches came to see
    them; ``judged_version`` and ``judged_key`` are the last one's. ``round`` counts what made verdicts of
    before worthless: who judged in an earlier one writes nothing.
    """

    __tablename__ = "saved_searches"
    __table_args__ = (UniqueConstraint("collection_id", "name"), NEVER_REUSED)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(Id, ForeignKey("collections.id"))
    name: Mapped[str] = mapped_column(Text)
    question: Mapped[dict[str, Any]] = mapped_column(Json)
    min_probability: Mapped[float] = mapped_column(Double)
    round: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    judged_by: Mapped[str | None] = mapped_column(Text)
    judged_version: Mapped[int] = mapped_column(BigInteger, server_default=text("-1"))
    judged_key: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    trouble: Mapped[str | None] = mapped_column(Text)
    """Why nothing is judged now, in one sentence."""
    webhook: Mapped[str | None] = mapped_column(Text)
    secret: Mapped[str | None] = mapped_column(Text)
    """Signs what is sent to the webhook."""
    due_at: Mapped[float] = mapped_column(Time, server_default=text("0"))
    """When the webhook is to be called next, at the earliest."""
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Calls in a row that failed."""
    webhook_trouble: Mapped[str | None] = mapped_column(Text)
    delivered: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    delivered_at: Mapped[float | None] = mapped_column(Time)
    created_at: Mapped[float] = mapped_column(Time)


class SavedMemberRow(Base):
    """A picture that fits a saved search; ids follow the order of joining within one search.

    ``probability`` is null where the picture could not be judged: no member, and asked again.
    """

    __tablename__ = "saved_members"
    __table_args__ = (
        UniqueConstraint("search_id", "key"),
        Index(None, "search_id", "id"),
        Index(None, "key"),
        NEVER_REUSED,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    search_id: Mapped[int] = mapped_column(Id, ForeignKey("saved_searches.id"))
    key: Mapped[int] = mapped_column(Id, ForeignKey("images.key"))
    probability: Mapped[float | None] = mapped_column(Double)
    joined_at: Mapped[float] = mapped_column(Time)


class SavedDeliveryRow(Base):
    """A member of whom the webhook has not been told; ``token`` is the same at every try."""

    __tablename__ = "saved_deliveries"
    __table_args__ = (Index(None, "search_id", "failed", "member_id"), WITHOUT_ROWID)

    member_id: Mapped[int] = mapped_column(
        Id, ForeignKey("saved_members.id"), primary_key=True, autoincrement=False
    )
    search_id: Mapped[int] = mapped_column(Id, ForeignKey("saved_searches.id"))
    token: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failed: Mapped[bool] = mapped_column(server_default=false())
    """Tried as often as one is."""
