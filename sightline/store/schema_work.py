"""The tables of jobs and tasks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from sightline.store.schema_base import (
    NEVER_REUSED,
    WITHOUT_ROWID,
    Base,
    Id,
    Json,
    Time,
    when,
)

OTHER_KINDS = "kind <> 'embed'"
REGISTERING = "state = 'registering'"


class JobRow(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "collection_id", "created_at"),
        Index(None, "created_at"),
        Index("ix_jobs_registering", "created_at", **when(REGISTERING)),
        Index(None, "turn"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    collection_id: Mapped[int] = mapped_column(Id, ForeignKey("collections.id"))
    kind: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    sealed: Mapped[bool] = mapped_column(server_default=false())
    unchanged: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    deleted: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    request: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[float] = mapped_column(Time)
    updated_at: Mapped[float] = mapped_column(Time)
    detail: Mapped[str | None] = mapped_column(Text)
    """Why it failed, or what its workers run into, in one sentence."""
    broken: Mapped[bool] = mapped_column(server_default=false())
    """Its listing ended early: once what was registered is done, it ends as failed."""
    refreshed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Of the unchanged, those that were met at another address than before."""
    duplicates: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """What its sources named once more."""
    turn: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """The last that was given to one of its tasks."""


class JobSeenRow(Base):
    """Image ids that an unsealed job has met, each in its source: what ``prune`` spares; sealing empties it.

    ``source_id`` is 0 where no source was given.
    """

    __tablename__ = "job_seen"
    __table_args__ = WITHOUT_ROWID

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    image_id: Mapped[str] = mapped_column(Text, primary_key=True)
    source_id: Mapped[int] = mapped_column(
        Id, primary_key=True, autoincrement=False, server_default=text("0")
    )


class TaskRow(Base):
    __tablename__ = "tasks"
    __table_args__ = (
        Index(None, "job_id", "state"),
        Index(None, "collection_id"),
        Index("ix_tasks_leased", "lease_expires_at", **when("state = 'leased'")),
        Index("ix_tasks_ready", "sent_at", **when("state = 'ready'")),
        Index("ix_tasks_other", "job_id", **when(OTHER_KINDS)),
        Index("ix_tasks_turn", "collection_id", "kind", "turn", "id", **when("state = 'ready'")),
        NEVER_REUSED,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    collection_id: Mapped[int] = mapped_column(Id, ForeignKey("collections.id"))
    state: Mapped[str] = mapped_column(Text)
    owner: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    lease_expires_at: Mapped[float | None] = mapped_column(Time)
    sent_at: Mapped[float | None] = mapped_column(Time)
    created_at: Mapped[float] = mapped_column(Time)
    kind: Mapped[str] = mapped_column(Text, server_default=text("'embed'"))
    lease_seconds: Mapped[float | None] = mapped_column(Time)
    """Its length: a lease that ends later than twice that from now was given by a clock put back since."""
    deaths: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Leases in a row that ran out without a word from their worker."""
    errors: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    """Attempts that ended in an unexpected error."""
    turn: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """When it is to be leased: the lowest first (see `sql.turns`)."""


class TaskItemRow(Base):
    """One live image in a task that does not embed. An embedding task's images name it themselves."""

    __tablename__ = "task_items"
    __table_args__ = (Index(None, "key"), WITHOUT_ROWID)

    task_id: Mapped[int] = mapped_column(Id, ForeignKey("tasks.id"), primary_key=True, autoincrement=False)
    key: Mapped[int] = mapped_column(Id, ForeignKey("images.key"), primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
