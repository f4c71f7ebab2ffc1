"""What all tables are made with."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    Integer,
    MetaData,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

# SQLite has 64-bit rowids only under the exact type name INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")
Json = JSON().with_variant(JSONB(), "postgresql")
Time: Double[float] = Double()

# AUTOINCREMENT: an id is never given twice, not even after the newest row was deleted.
NEVER_REUSED = {"sqlite_autoincrement": True}
WITHOUT_ROWID = {"sqlite_with_rowid": False}


def when(condition: str) -> dict[str, Any]:
    """Makes an index partial, on both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def when_flagged(column: str) -> dict[str, Any]:
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
