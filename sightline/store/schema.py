"""The tables. Migrations must produce exactly this metadata (a test compares them on both databases)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, Integer, MetaData, Text, false, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite has 64-bit rowids only under the exact type name INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")
Json = JSON().with_variant(JSONB(), "postgresql")
Time: Double[float] = Double()

# AUTOINCREMENT: an id is never given twice, not even after the newest row was deleted.
NEVER_REUSED = {"sqlite_autoincrement": True}
WITHOUT_ROWID = {"sqlite_with_rowid": False}


def _where(condition: str) -> dict[str, Any]:
    """Makes an index partial, on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class CollectionRow(Base):
    __tablename__ = "collections"
    __table_args__ = NEVER_REUSED

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    model: Mapped[str] = mapped_column(Text)
    revision: Mapped[str | None] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(Text)
    num_query_tokens: Mapped[int] = mapped_column(Integer)
    joint_dim: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_at: Mapped[float] = mapped_column(Time)


class JobRow(Base):
    __tablename__ = "jobs"
    __table_args__ = (Index(None, "collection_id", "created_at"), Index(None, "created_at"))

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


class JobSeenRow(Base):
    """Image ids that an unsealed job has met in its source: what ``prune`` spares. Emptied when the job is
    sealed.
    """

    __tablename__ = "job_seen"
    __table_args__ = WITHOUT_ROWID

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    image_id: Mapped[str] = mapped_column(Text, primary_key=True)


class TaskRow(Base):
    __tablename__ = "tasks"
    __table_args__ = (
        Index(None, "job_id", "state"),
        Index(None, "collection_id"),
        Index("ix_tasks_leased", "lease_expires_at", **_where("state = 'leased'")),
        Index("ix_tasks_ready", "sent_at", **_where("state = 'ready'")),
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


class SegmentRow(Base):
    __tablename__ = "segments"
    __table_args__ = (Index(None, "collection_id", "state"), NEVER_REUSED)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(Id, ForeignKey("collections.id"))
    file: Mapped[str] = mapped_column(Text, unique=True)
    sha256: Mapped[str] = mapped_column(Text)
    count: Mapped[int] = mapped_column(Integer)
    codec: Mapped[str] = mapped_column(Text)
    bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Time)
    retired_at: Mapped[float | None] = mapped_column(Time)


class ImageRow(Base):
    """One version of one image; ``key`` names it in segments and generations for ever.

    A row that is not live but has a ``segment_id`` is *dead*: its key still occurs in a published segment
    or (then ``row`` may be null) in the current generation.
    """

    __tablename__ = "images"
    __table_args__ = (
        Index("uq_images_live", "collection_id", "image_id", unique=True, **_where("state = 'live'")),
        Index("uq_images_pending", "collection_id", "image_id", unique=True, **_where("state = 'pending'")),
        Index("ix_images_failed", "collection_id", "image_id", **_where("state = 'failed'")),
        Index("ix_images_sha256", "collection_id", "sha256", **_where("state = 'live'")),
        Index(
            "ix_images_dead",
            "collection_id",
            **_where("state IN ('buried', 'discarded') AND segment_id IS NOT NULL"),
        ),
        Index(None, "collection_id", "state", "key"),
        Index(None, "job_id", "state", "replaces_key"),
        Index(None, "task_id"),
        Index(None, "segment_id"),
        NEVER_REUSED,
    )

    key: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(Id, ForeignKey("collections.id"))
    image_id: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    uri: Mapped[str] = mapped_column(Text)
    caption: Mapped[str | None] = mapped_column(Text)
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", Json)
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    task_id: Mapped[int | None] = mapped_column(Id, ForeignKey("tasks.id"))
    replaces_key: Mapped[int | None] = mapped_column(Id)
    segment_id: Mapped[int | None] = mapped_column(Id, ForeignKey("segments.id"))
    row: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Time)
    published_at: Mapped[float | None] = mapped_column(Time)
    buried_at: Mapped[float | None] = mapped_column(Time)


class GenerationRow(Base):
    __tablename__ = "generations"

    collection_id: Mapped[int] = mapped_column(
        Id, ForeignKey("collections.id"), primary_key=True, autoincrement=False
    )
    number: Mapped[int] = mapped_column(BigInteger)
    file: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    covered: Mapped[list[int]] = mapped_column(Json)
    images: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(Time)


class SingletonRow(Base):
    __tablename__ = "singletons"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    owner: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[float] = mapped_column(Time)
