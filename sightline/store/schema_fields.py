"""The tables of what filters find in metadata: the fields of each collection, and their values.

They follow the metadata of live and trashed images, in the transaction that changes it. SQLite's integrity
check compares them with their indexes, which hold all their columns.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Dialect,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeEngine, UserDefinedType

from sightline.store.schema_base import NEVER_REUSED, WITHOUT_ROWID, Base, Id
from sightline.store.values import INT64


class _AnyNumber(UserDefinedType[Any]):
    """SQLite keeps integers as integers and fractions as doubles, and compares the two exactly."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "NUMERIC"


class Number(TypeDecorator[int | float]):
    """A number of JSON, by its digits: PostgreSQL compares it so, as it does the numbers of a document."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(_AnyNumber() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: int | float | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "sqlite" else Decimal(repr(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> int | float | None:
        if isinstance(value, Decimal):
            whole = value == value.to_integral_value() and -INT64 <= value < INT64
            return int(value) if whole else float(value)
        plain: int | float | None = value
        return plain


ByCodePoint = Text().with_variant(Text(collation="C"), "postgresql")
"""Ordered as Python and SQLite order texts."""


class MetadataFieldRow(Base):
    """A field that some image of a collection has or had; ``path``: its names, with dots between them."""

    __tablename__ = "metadata_fields"
    __table_args__ = (UniqueConstraint("collection_id", "path"), NEVER_REUSED)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(Id, ForeignKey("collections.id"))
    path: Mapped[str] = mapped_column(Text)


class FieldValueRow(Base):
    """One scalar of an image's metadata: see `sightline.store.field_values`."""

    __tablename__ = "field_values"
    __table_args__ = (Index(None, "field_id", "kind", "number", "text", "key"), WITHOUT_ROWID)

    key: Mapped[int] = mapped_column(Id, ForeignKey("images.key"), primary_key=True, autoincrement=False)
    field_id: Mapped[int] = mapped_column(
        Id, ForeignKey("metadata_fields.id"), primary_key=True, autoincrement=False
    )
    place: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[int] = mapped_column(Integer)
    number: Mapped[int | None] = mapped_column(Number)
    text: Mapped[str | None] = mapped_column(ByCodePoint)
