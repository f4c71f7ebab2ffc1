"""The tables. Migrations must produce exactly this metadata (a test compares them on both databases)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite has 64-bit rowids only under the exact type name INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")
Json = JSON().with_variant(JSONB(), "postgresql")
Time: Double[float] = Double()

# AUTOINCREMENT: an id is never given twice, not even after the newest row was deleted.
NEVER_REUSED = {"sqlite_autoincrement": True}
WITHOUT_ROWID = {"sqlite_with_rowid": False}

REFERRING = "state IN ('live', 'pending', 'failed', 'trashed')"
"""The images whose bytes are still wanted. Written out in queries too: SQLite uses a partial index only where
its very condition stands."""
OTHER_KINDS = "kind <> 'embed'"
TRASHED = "state = 'trashed'"
REGISTERING = "state = 'registering'"


def _where(condition: str) -> dict[str, Any]:
    """Makes an index partial, on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _flagged(column: str) -> dict[str, Any]:
    """Makes an index partial: as SQLAlchemy writes the condition in queries, for SQLite compares the text."""
    return {"sqlite_where": text(f"{column} = 1"), "postgresql_where": text(column)}


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class InstallationRow(Base):
    """The one row that says whose catalog this is; folders that belong to it carry the same id.

    ``stamp`` is what the builder last wrote into the folders before it removed something, ``next_stamp`` what
    it is writing: a copy of this catalog, or an older state of it, finds another one there.
    """

    __tablename__ = "installation"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    created_at: Mapped[float] = mapped_column(Time)
    stamp: Mapped[str | None] = mapped_column(Text)
    next_stamp: Mapped[str | None] = mapped_column(Text)


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


class FeatureSetRow(Base):
    """What one model made of a collection's images; one set of each collection serves."""

    __tablename__ = "feature_sets"
    __table_args__ = (
        UniqueConstraint("collection_id", "fingerprint"),
        Index("uq_feature_sets_serving", "collection_id", unique=True, **_flagged("serving")),
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


class JobRow(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "collection_id", "created_at"),
        Index(None, "created_at"),
        Index("ix_jobs_registering", "created_at", **_where(REGISTERING)),
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
        Index("ix_tasks_leased", "lease_expires_at", **_where("state = 'leased'")),
        Index("ix_tasks_ready", "sent_at", **_where("state = 'ready'")),
        Index("ix_tasks_other", "job_id", **_where(OTHER_KINDS)),
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


class TaskItemRow(Base):
    """One live image in a task that does not embed. An embedding task's images name it themselves."""

    __tablename__ = "task_items"
    __table_args__ = (Index(None, "key"), WITHOUT_ROWID)

    task_id: Mapped[int] = mapped_column(Id, ForeignKey("tasks.id"), primary_key=True, autoincrement=False)
    key: Mapped[int] = mapped_column(Id, ForeignKey("images.key"), primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)


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
        Index("uq_images_live", "collection_id", "image_id", unique=True, **_where("state = 'live'")),
        Index("uq_images_pending", "collection_id", "image_id", unique=True, **_where("state = 'pending'")),
        Index("ix_images_failed", "collection_id", "image_id", **_where("state = 'failed'")),
        Index("ix_images_sha256", "sha256", "collection_id", **_where(REFERRING)),
        Index("ix_images_source_id", "source_id", **_where("source_id IS NOT NULL")),
        Index("ix_images_trashed", "collection_id", "trashed_at", **_where(TRASHED)),
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


class PlacementRow(Base):
    """Where a feature set keeps one key: a row of a segment.

    ``dead``: the image is not live, and its key still occurs in that segment, or (then ``segment_id`` and
    ``row`` are null) only in generations, none newer than ``generation_id``. A key without a placement
    occurs nowhere.
    """

    __tablename__ = "placements"
    __table_args__ = (
        Index("ix_placements_dead", "feature_set_id", "key", **_flagged("dead")),
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
        Index("uq_generations_serving", "feature_set_id", unique=True, **_flagged("serving")),
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


class ReleasedBlobRow(Base):
    """Bytes that some image referred to until ``since``; whether another one still does is asked later."""

    __tablename__ = "released_blobs"
    __table_args__ = (Index(None, "since"), WITHOUT_ROWID)

    sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    since: Mapped[float] = mapped_column(Time)


class LooseFileRow(Base):
    """A file of ours that no other row names: ``released`` (one did), ``stray`` (none was seen to),
    ``swept`` (a stray that was set aside) or ``unfinished``. ``age`` is how long it was seen so, ``seen_at``
    when last.
    """

    __tablename__ = "loose_files"
    __table_args__ = WITHOUT_ROWID

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[float] = mapped_column(Time)
    age: Mapped[float] = mapped_column(Time)


class PurgeRow(Base):
    """A picture that is to leave no trace, until it has. Its row in ``images`` may be gone already."""

    __tablename__ = "purges"
    __table_args__ = WITHOUT_ROWID

    key: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    collection_id: Mapped[int] = mapped_column(Id)
    sha256: Mapped[str] = mapped_column(Text)
    until: Mapped[float] = mapped_column(Time)
    """Until then a worker that had begun may still write something of it: it is looked for again."""


class SingletonRow(Base):
    __tablename__ = "singletons"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    owner: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[float] = mapped_column(Time)
    seconds: Mapped[float | None] = mapped_column(Time)
    """Its length, as of a task's lease."""
