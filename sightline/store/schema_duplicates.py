"""The tables of near duplicates: what pictures look like, and which are the same picture."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from sightline.store.schema_base import NEVER_REUSED, WITHOUT_ROWID, Base, Id


class PictureHashRow(Base):
    """The perceptual hash of a version of an image, which was compared with all of its collection."""

    __tablename__ = "picture_hashes"
    __table_args__ = WITHOUT_ROWID

    key: Mapped[int] = mapped_column(Id, ForeignKey("images.key"), primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class SamePictureRow(Base):
    """Two contents that show the same picture, ``first`` before ``second`` in order: found by looking."""

    __tablename__ = "same_pictures"
    __table_args__ = (
        Index("uq_same_pictures_first_second", "first", "second", unique=True),
        Index(None, "second"),
        NEVER_REUSED,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    first: Mapped[str] = mapped_column(Text)
    second: Mapped[str] = mapped_column(Text)
