"""The tables of images and of what was made of them.

Migrations must produce exactly this metadata, with that of `schema_work` and `schema_upkeep` (a test compares
them on both databases).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from sightline.store.schema_base import (
    NEVER_REUSED,
    WITHOUT_ROWID,
    Base,
    Id,
    Json,
    Time,
    when,
    when_flagged,
)

REFERRING = "state IN ('live', 'pending', 'failed', 'trashed')"
"""The images whose bytes are still wanted. Written out in queries too: SQLite uses a partial index only where
its very condition stands."""
TRASHED = "state = 'trashed'"


class CollectionRow(Base):
    """In the trash it has another ``name``, which no living one can have, and keeps its own beside it."""

    __tablename__ = "collections"
    __table_args__ = NEVER_REUSED

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_at: Mapped[float] = mapped_column(Time)
    trashed_at: Mapped[float | None] = mapped_column(Time)
    trashed_name: Mapped[str | None] = mapped_column(Text)
    index_kind: Mapped[str | None] = mapped_column(Text)


class FeatureSetRow(Base):
    """What one model made of a collection's images; one set of each collection serves."""

    __tablename__ = "feature_sets"
    __table_args__ = (
        UniqueConstraint("collection_id", "fingerprint"),
        Index("uq_feature_sets_serving", "collection_id", unique=True, **when_flagged("serving")),
        NEVER_REUSED,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(Id, ForeignKey("collections.id"))
    model: Mapped[str] = mapped_column(Text)
    revision: Mapped[str | None] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(Text)
    num_query_tokens: Mapped[int] = mapped_column(Integer)
    joint_dim: Mapped[int] = mapped_column(Integer)
    serving: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[float] = mapped_column(Time)


class SourceRow(Base):
    """An address that images of a collection came from."""

    __tablename__ = "sources"
    __table_args__ = (UniqueConstraint("collection_id", "address"), NEVER_REUSED)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(Id, ForeignKey("collections.id"))
    address: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Time)


class SegmentRow(Base):
    __tablename__ = "segments"
    __table_args__ = (Index(None, "feature_set_id", "state"), NEVER_REUSED)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    file: Mapped[str] = mapped_column(Text, unique=True)
    sha256: Mapped[str] = mapped_column(Text)
    count: Mapped[int] = mapped_column(Integer)
    codec: Mapped[str] = mapped_column(Text)
    bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Time)
    retired_at: Mapped[float | None] = mapped_column(Time)
    feature_set_id: Mapped[int] = mapped_column(Id, ForeignKey("feature_sets.id"))


class ImageRow(Base):
    """One version of one image; ``key`` names it in segments and generations for ever."""

    __tablename__ = "images"
    __table_args__ = (
        Index("uq_images_live", "collection_id", "image_id", unique=True, **when("state = 'live'")),
        Index("uq_images_pending", "collection_id", "image_id", unique=True, **when("state = 'pending'")),
        Index("ix_images_failed", "collection_id", "image_id", **when("state = 'failed'")),
        Index("ix_images_sha256", "sha256", "collection_id", **when(REFERRING)),
        Index("ix_images_source_id", "source_id", **when("source_id IS NOT NULL")),
        Index("ix_images_trashed", "collection_id", "trashed_at", **when(TRASHED)),
        Index(None, "collection_id", "changed", **when("state = 'live'")),
        Index(None, "collection_id", "state", "key"),
        Index(None, "job_id", "state", "replaces_key"),
        Index(None, "task_id"),
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
    reason: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Time)
    published_at: Mapped[float | None] = mapped_column(Time)
    buried_at: Mapped[float | None] = mapped_column(Time)
    source_id: Mapped[int | None] = mapped_column(Id, ForeignKey("sources.id"))
    trashed_at: Mapped[float | None] = mapped_column(Time)
    changed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Never before this version of the collection did a search see what filters see of the row now."""


class PlacementRow(Base):
    """Where a feature set keeps one key: a row of a segment.

    ``dead``: the image is not live, and its key still occurs in that segment, or (then ``segment_id`` and
    ``row`` are null) only in generations, none newer than ``generation_id``. A key without a placement
    occurs nowhere.
    """

    __tablename__ = "placements"
    __table_args__ = (
        Index("ix_placements_dead", "feature_set_id", "key", **when_flagged("dead")),
        Index(None, "segment_id"),
        WITHOUT_ROWID,
    )

    key: Mapped[int] = mapped_column(Id, ForeignKey("images.key"), primary_key=True, autoincrement=False)
    feature_set_id: Mapped[int] = mapped_column(
        Id, ForeignKey("feature_sets.id"), primary_key=True, autoincrement=False
    )
    segment_id: Mapped[int | None] = mapped_column(Id, ForeignKey("segments.id"))
    row: Mapped[int | None] = mapped_column(Integer)
    dead: Mapped[bool] = mapped_column(server_default=false())
    generation_id: Mapped[int | None] = mapped_column(Id)


class GenerationRow(Base):
    """A token index of a feature set; one of them serves."""

    __tablename__ = "generations"
    __table_args__ = (
        UniqueConstraint("feature_set_id", "kind", "number"),
        Index("uq_generations_serving", "feature_set_id", unique=True, **when_flagged("serving")),
        NEVER_REUSED,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    feature_set_id: Mapped[int] = mapped_column(Id, ForeignKey("feature_sets.id"))
    kind: Mapped[str] = mapped_column(Text)
    number: Mapped[int] = mapped_column(BigInteger)
    parameters: Mapped[dict[str, Any]] = mapped_column(Json)
    serving: Mapped[bool] = mapped_column(server_default=false())
    file: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    covered: Mapped[list[int]] = mapped_column(Json)
    images: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float] = mapped_column(Time)
