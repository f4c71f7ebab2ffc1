"""The table of what is said of images: given captions, texts of their metadata, captions of models."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Double, ForeignKey, Index, Text, UniqueConstraint, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from sightline.store.schema_base import NEVER_REUSED, Base, Id, Time

FOUND: Final = "verdict <> 'dropped'"
"""The texts that bring their images into searches."""


class TextRow(Base):
    """One text of one version of an image; another text is another row.

    ``digest`` stands for the text where it must be unique, for PostgreSQL cannot index long ones. ``words``
    are those of the text as they are looked for (`sightline.store.words`).
    """

    __tablename__ = "texts"
    __table_args__ = (
        UniqueConstraint("key", "source", "digest"),
        Index(None, "collection_id", "id"),
        NEVER_REUSED,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    key: Mapped[int] = mapped_column(Id, ForeignKey("images.key"))
    collection_id: Mapped[int] = mapped_column(Id, ForeignKey("collections.id"))
    source: Mapped[str] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(Text)
    words: Mapped[str] = mapped_column(Text)
    log_probability: Mapped[float | None] = mapped_column(Double)
    match_probability: Mapped[float | None] = mapped_column(Double)
    judge: Mapped[str | None] = mapped_column(Text)
    verdict: Mapped[str] = mapped_column(Text)
    overruled: Mapped[bool] = mapped_column(server_default=false())
    job_id: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Time)


WORDS: Final = func.array_to_tsvector(func.string_to_array(TextRow.words, text("' '")))
"""What PostgreSQL indexes: the words themselves, which none of its parsers touches."""
Index("ix_texts_words", WORDS, postgresql_using="gin", postgresql_where=text(FOUND)).ddl_if(
    dialect="postgresql"
)
