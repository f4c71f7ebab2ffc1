"""Saved searches: what is asked of every picture that comes."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from sightline.store.migrations.columns import ID, JSON, column, flag, foreign, texts
from sightline.store.row_digest import statements

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

DIGESTS = {
    "saved_searches": ("question", "min_probability", "round", "judged_by", "judged_version", "judged_key",
                       "trouble", "webhook", "secret", "due_at", "failures", "webhook_trouble", "delivered",
                       "delivered_at", "created_at"),
    "saved_members": ("probability", "joined_at"),
    "saved_deliveries": ("token", "attempts"),
}  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "saved_searches",
        column("id", ID),
        column("collection_id", ID),
        *texts("name"),
        column("question", JSON),
        column("min_probability", sa.Double()),
        _counted("round", sa.BigInteger()),
        *texts("judged_by", null=True),
        _counted("judged_version", sa.BigInteger(), "-1"),
        _counted("judged_key", sa.BigInteger()),
        *texts("trouble", "webhook", "secret", null=True),
        _counted("due_at", sa.Double()),
        _counted("failures", sa.Integer()),
        *texts("webhook_trouble", null=True),
        _counted("delivered", sa.BigInteger()),
        column("delivered_at", sa.Double(), null=True),
        column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_saved_searches"),
        foreign("saved_searches", "collection_id", "collections"),
        sa.UniqueConstraint("collection_id", "name", name="uq_saved_searches_collection_id_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "saved_members",
        *(column(name, ID) for name in ("id", "search_id", "key")),
        column("probability", sa.Double(), null=True),
        column("joined_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_saved_members"),
        foreign("saved_members", "search_id", "saved_searches"),
        foreign("saved_members", "key", "images", "key"),
        sa.UniqueConstraint("search_id", "key", name="uq_saved_members_search_id_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_saved_members_search_id_id", "saved_members", ["search_id", "id"])
    op.create_index("ix_saved_members_key", "saved_members", ["key"])
    op.create_table(
        "saved_deliveries",
        sa.Column("member_id", ID, nullable=False, autoincrement=False),
        column("search_id", ID),
        *texts("token"),
        _counted("attempts", sa.Integer()),
        flag("failed"),
        sa.PrimaryKeyConstraint("member_id", name="pk_saved_deliveries"),
        foreign("saved_deliveries", "member_id", "saved_members"),
        foreign("saved_deliveries", "search_id", "saved_searches"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_saved_deliveries_search_id_failed_member_id",
        "saved_deliveries",
        ["search_id", "failed", "member_id"],
    )
    if op.get_context().dialect.name == "sqlite":
        for statement in statements(DIGESTS):
            op.execute(statement)


def downgrade() -> None:
    """Saved searches and their members are gone."""
    for table in ("saved_deliveries", "saved_members", "saved_searches"):
        op.drop_table(table)


def _counted(name: str, kind: Any, start: str = "0") -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default=sa.text(start))
