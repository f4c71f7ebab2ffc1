"""The tables of the caretakers: whose the installation is, what is to be removed, who holds which lease."""

from __future__ import annotations

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from sightline.store.schema_base import (
    WITHOUT_ROWID,
    Base,
    Id,
    Time,
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
