"""The table of calibrations: what makes match probabilities of a collection believable."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Integer, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from sightline.store.schema_base import NEVER_REUSED, Base, Id, Json, Time


class CalibrationRow(Base):
    """One that was fitted; the newest ``version`` of a collection's fingerprint serves.

    ``kind``: ``platt``, ``isotonic``, ``identity``, or ``default``: that of the model's checkpoint again.
    """

    __tablename__ = "calibrations"
    __table_args__ = (UniqueConstraint("collection_id", "fingerprint", "version"), NEVER_REUSED)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(Id, ForeignKey("collections.id"))
    fingerprint: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(Text)
    parameters: Mapped[dict[str, Any]] = mapped_column(Json)
    report: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[float] = mapped_column(Time)
