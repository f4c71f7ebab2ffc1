"""What filters find in metadata, indexed; and at which version of its collection an image last changed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from sightline.store.field_values import FieldValue, field_values
from sightline.store.migrations.columns import ID, JSON, column, foreign, partial, texts
from sightline.store.row_digest import statements
from sightline.store.schema_fields import Number

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BEFORE = {
    "images": (
        "image_id", "sha256", "uri", "caption", "metadata", "width", "height", "bytes", "replaces_key",
        "reason", "detail", "created_at", "published_at", "buried_at", "trashed_at",
    ),
}  # fmt: skip
DIGESTS = {"images": (*BEFORE["images"], "changed")}
CHANGED = "ix_images_collection_id_changed"
AT_ONCE = 500
"""Images that are filled at a time."""


def upgrade() -> None:
    op.add_column(
        "images", sa.Column("changed", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    )
    partial(CHANGED, "images", ["collection_id", "changed"], "state = 'live'")
    _make_tables()
    if op.get_context().dialect.name == "sqlite":
        _digests(DIGESTS)
        op.execute(
            f"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('images', '{CHANGED}', '1000000 100000 50')"
        )
        op.execute("ANALYZE sqlite_master")
    _fill()
    names = ["field_id", "kind", "number", "text", "key"]
    op.create_index("ix_field_values_field_id_kind_number_text_key", "field_values", names)


def downgrade() -> None:
    """Nothing is lost: all of it stands in the metadata."""
    op.drop_table("field_values")
    op.drop_table("metadata_fields")
    op.drop_index(CHANGED, "images")
    if op.get_context().dialect.name != "sqlite":
        op.drop_column("images", "changed")
        return
    op.execute(f"DELETE FROM sqlite_stat1 WHERE idx = '{CHANGED}'")
    op.execute("DROP INDEX ix_images_digest")
    op.drop_column("images", "changed")
    _digests(BEFORE)


def _make_tables() -> None:
    op.create_table(
        "metadata_fields",
        column("id", ID),
        column("collection_id", ID),
        *texts("path"),
        sa.PrimaryKeyConstraint("id", name="pk_metadata_fields"),
        foreign("metadata_fields", "collection_id", "collections"),
        sa.UniqueConstraint("collection_id", "path", name="uq_metadata_fields_collection_id_path"),
        sqlite_autoincrement=True,
    )
    by_code_point = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "field_values",
        sa.Column("key", ID, nullable=False, autoincrement=False),
        sa.Column("field_id", ID, nullable=False, autoincrement=False),
        sa.Column("place", sa.Integer(), nullable=False, autoincrement=False),
        column("kind", sa.Integer()),
        column("number", Number(), null=True),
        column("text", by_code_point, null=True),
        sa.PrimaryKeyConstraint("key", "field_id", "place", name="pk_field_values"),
        foreign("field_values", "key", "images", "key"),
        foreign("field_values", "field_id", "metadata_fields"),
        sqlite_with_rowid=False,
    )


def _fill() -> None:
    """The values of each image that has metadata, a page of them in memory."""
    bind = op.get_bind()
    plain: list[sa.ColumnClause[Any]] = [sa.column(name) for name in ("key", "collection_id", "state")]
    images = sa.table("images", *plain, sa.column("metadata", JSON))
    others: list[sa.ColumnClause[Any]] = [
        sa.column(name) for name in ("key", "field_id", "place", "kind", "text")
    ]
    values = sa.table("field_values", *others, sa.column("number", Number()))
    page = sa.select(images.c.key, images.c.collection_id, images.c.metadata).order_by(images.c.key)
    page = page.where(images.c.state.in_(("live", "trashed"))).limit(AT_ONCE)
    ids: dict[tuple[int, str], int] = {}
    after = 0
    while rows := bind.execute(page.where(images.c.key > after)).all():
        after = rows[-1].key
        found = [(row, value) for row in rows for value in field_values(row.metadata)]
        _name_fields({(row.collection_id, value.path) for row, value in found}, ids)
        new = [_filled(row.key, ids[row.collection_id, value.path], value) for row, value in found]
        if new:
            bind.execute(sa.insert(values), new)


def _filled(key: int, field_id: int, value: FieldValue) -> dict[str, Any]:
    shown = {"place": value.place, "kind": int(value.kind), "number": value.number, "text": value.text}
    return {"key": key, "field_id": field_id, **shown}


def _name_fields(named: Iterable[tuple[int, str]], ids: dict[tuple[int, str], int]) -> None:
    """Gives an id to each (collection, path) that has none. Forgets the others when there are many."""
    bind = op.get_bind()
    fields = sa.table("metadata_fields", sa.column("id"), sa.column("collection_id"), sa.column("path"))
    if len(ids) > 200 * AT_ONCE:
        ids.clear()
    for collection_id, path in named:
        if (collection_id, path) in ids:
            continue
        here = (fields.c.collection_id == collection_id, fields.c.path == path)
        known = sa.select(fields.c.id).where(*here)
        if bind.scalar(known) is None:
            bind.execute(sa.insert(fields).values(collection_id=collection_id, path=path))
        ids[collection_id, path] = bind.execute(known).scalar_one()


def _digests(columns: Mapping[str, Sequence[str]]) -> None:
    op.execute("DROP INDEX IF EXISTS ix_images_digest")
    for statement in statements(columns):
        op.execute(statement)
