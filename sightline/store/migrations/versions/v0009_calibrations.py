"""Calibrations of match probabilities, by collection and model."""

import sqlalchemy as sa
from alembic import op

from sightline.store.migrations.columns import ID, JSON, column, foreign, texts
from sightline.store.row_digest import statements

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

DIGESTS = {"calibrations": ("kind", "parameters", "report", "created_at")}


def upgrade() -> None:
    op.create_table(
        "calibrations",
        column("id", ID),
        column("collection_id", ID),
        *texts("fingerprint"),
        column("version", sa.Integer()),
        *texts("kind"),
        column("parameters", JSON),
        column("report", JSON),
        column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_calibrations"),
        foreign("calibrations", "collection_id", "collections"),
        sa.UniqueConstraint(
            "collection_id",
            "fingerprint",
            "version",
            name="uq_calibrations_collection_id_fingerprint_version",
        ),
        sqlite_autoincrement=True,
    )
    if op.get_context().dialect.name == "sqlite":
        for statement in statements(DIGESTS):
            op.execute(statement)


def downgrade() -> None:
    """Match probabilities are those of the model's checkpoint again."""
    op.drop_table("calibrations")
