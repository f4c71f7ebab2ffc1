"""An installation has an id; images and collections have a trash; leases know their length; jobs say why."""

import time
import uuid

import sqlalchemy as sa
from alembic import op

from sightline.errors import ConflictError
from sightline.store.migrations.columns import ID, column, partial, texts

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REFERRING = "state IN ('live', 'pending', 'failed', 'trashed')"
BEFORE = "state IN ('live', 'pending', 'failed')"


def upgrade() -> None:
    _installation()
    _purges()
    op.add_column("collections", column("trashed_at", sa.Double(), null=True))
    op.add_column("collections", *texts("trashed_name", null=True))
    op.add_column("jobs", *texts("detail", null=True))
    op.add_column("job_seen", column("source_id", ID, null=True))
    op.add_column("tasks", column("lease_seconds", sa.Double(), null=True))
    op.add_column("singletons", column("seconds", sa.Double(), null=True))
    op.add_column("images", column("trashed_at", sa.Double(), null=True))
    partial("ix_images_trashed", "images", ["collection_id", "trashed_at"], "state = 'trashed'")
    op.drop_index("ix_images_sha256", "images")
    partial("ix_images_sha256", "images", ["sha256", "collection_id"], REFERRING)
    _tell_the_planner({"ix_images_sha256": "600000 2 1", "ix_images_trashed": "10000 100 2"})


def downgrade() -> None:
    """What is in the trash would come back to life, or be lost: whoever goes back decides that before."""
    trashed = "SELECT (SELECT count(*) FROM images WHERE state = 'trashed')"
    trashed += " + (SELECT count(*) FROM collections WHERE trashed_at IS NOT NULL)"
    if op.get_bind().scalar(sa.text(trashed)):
        raise ConflictError("Schema 0002 has no trash: restore what is in it, or empty it, and go back then.")
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM purges")):
        raise ConflictError("Pictures are being purged: let the builder end that, and go back then.")
    op.drop_index("ix_images_sha256", "images")
    partial("ix_images_sha256", "images", ["sha256", "collection_id"], BEFORE)
    _tell_the_planner({"ix_images_sha256": "600000 2 1"})
    op.drop_index("ix_images_trashed", "images")
    for table, name in (
        ("images", "trashed_at"),
        ("singletons", "seconds"),
        ("tasks", "lease_seconds"),
        ("job_seen", "source_id"),
        ("jobs", "detail"),
        ("collections", "trashed_name"),
        ("collections", "trashed_at"),
    ):
        op.drop_column(table, name)
    op.drop_table("purges")
    op.drop_table("installation")


def _installation() -> None:
    table = op.create_table(
        "installation",
        *texts("id"),
        column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_installation"),
    )
    op.bulk_insert(table, [{"id": uuid.uuid4().hex, "created_at": time.time()}])


def _purges() -> None:
    op.create_table(
        "purges",
        sa.Column("key", ID, nullable=False, autoincrement=False),
        column("collection_id", ID),
        *texts("sha256"),
        column("until", sa.Double()),
        sa.PrimaryKeyConstraint("key", name="pk_purges"),
        sqlite_with_rowid=False,
    )


def _tell_the_planner(indexes: dict[str, str]) -> None:
    """What 0002 said of a large catalog goes with its index (see `sqlite_0002.tell_the_planner`)."""
    if op.get_context().dialect.name != "sqlite":
        return
    for index, rows in indexes.items():
        op.execute(f"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('images', '{index}', '{rows}')")
    op.execute("ANALYZE sqlite_master")
