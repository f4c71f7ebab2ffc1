"""Keys: who may do what over HTTP."""

import sqlalchemy as sa
from alembic import op

from sightline.store.migrations.columns import JSON, column, partial, texts
from sightline.store.row_digest import statements

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DIGESTS = {
    "keys": ("name", "sha256", "scope", "collections", "created_at", "expires_at", "revoked_at",
             "last_used_at"),
}  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "keys",
        *texts("id", "name", "sha256", "scope"),
        column("collections", JSON, null=True),
        column("created_at", sa.Double()),
        *(column(name, sa.Double(), null=True) for name in ("expires_at", "revoked_at", "last_used_at")),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    partial("ix_keys_name", "keys", ["name"], "revoked_at IS NULL", unique=True)
    if op.get_context().dialect.name == "sqlite":
        for statement in statements(DIGESTS):
            op.execute(statement)


def downgrade() -> None:
    """The keys are lost, and whoever goes back is told: 0003 knows the one in the settings only."""
    op.drop_table("keys")
