"""An installation has an id; images and collections have a trash; leases know their length; jobs say why."""

import time
import uuid
from typing import Literal

import sqlalchemy as sa
from alembic import op

from sightline.errors import ConflictError
from sightline.store.migrations.columns import ID, column, flag, foreign, partial, texts
from sightline.store.row_digest import statements

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DIGESTS = {
    "images": (
        "image_id", "sha256", "uri", "caption", "metadata", "width", "height", "bytes", "replaces_key",
        "reason", "detail", "created_at", "published_at", "buried_at", "trashed_at",
    ),
    "collections": ("version", "created_at", "trashed_at", "trashed_name"),
    "feature_sets": ("model", "revision", "num_query_tokens", "joint_dim", "created_at"),
    "sources": ("created_at",),
    "jobs": ("kind", "state", "sealed", "unchanged", "deleted", "request", "updated_at", "detail",
             "broken", "refreshed", "duplicates"),
    "tasks": ("kind", "state", "owner", "attempt", "lease_expires_at", "lease_seconds", "sent_at",
              "created_at", "errors", "deaths"),
    "segments": ("sha256", "count", "codec", "bytes", "created_at", "retired_at"),
    "generations": ("parameters", "sha256", "covered", "images", "file", "created_at"),
    "job_seen": ("image_id", "source_id"),
    "released_blobs": ("sha256", "since"),
    "task_items": ("key", "state", "reason", "detail"),
}  # fmt: skip
"""Table → the columns whose bytes no other index holds."""
REFERRING = "state IN ('live', 'pending', 'failed', 'trashed')"
COUNTERS = ("refreshed", "duplicates")
BEFORE = "state IN ('live', 'pending', 'failed')"


def upgrade() -> None:
    _installation()
    _loose_files()
    _purges()
    op.add_column("collections", column("trashed_at", sa.Double(), null=True))
    op.add_column("collections", *texts("trashed_name", null=True))
    op.add_column("jobs", *texts("detail", null=True))
    _jobs_and_tasks()
    for name in COUNTERS:
        op.add_column("jobs", sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    _seen(("job_id", "image_id", "source_id"), "job_id, image_id, 0 AS source_id")
    op.add_column("singletons", column("seconds", sa.Double(), null=True))
    op.add_column("images", column("trashed_at", sa.Double(), null=True))
    partial("ix_images_trashed", "images", ["collection_id", "trashed_at"], "state = 'trashed'")
    op.drop_index("ix_images_sha256", "images")
    partial("ix_images_sha256", "images", ["sha256", "collection_id"], REFERRING)
    _tell_the_planner({"ix_images_sha256": "600000 2 1", "ix_images_trashed": "10000 100 2"})
    _digests("CREATE")


def downgrade() -> None:
    """What is in the trash would come back to life, or be lost: whoever goes back decides that before."""
    trashed = "SELECT (SELECT count(*) FROM images WHERE state = 'trashed')"
    trashed += " + (SELECT count(*) FROM collections WHERE trashed_at IS NOT NULL)"
    if op.get_bind().scalar(sa.text(trashed)):
        raise ConflictError("Schema 0002 has no trash: restore what is in it, or empty it, and go back then.")
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM purges")):
        raise ConflictError("Pictures are being purged: let the builder end that, and go back then.")
    _digests("DROP")
    op.drop_index("ix_images_sha256", "images")
    partial("ix_images_sha256", "images", ["sha256", "collection_id"], BEFORE)
    _tell_the_planner({"ix_images_sha256": "600000 2 1"})
    op.drop_index("ix_images_trashed", "images")
    op.drop_index("ix_jobs_registering", "jobs")
    for table, name in (
        ("images", "trashed_at"),
        ("singletons", "seconds"),
        ("tasks", "errors"),
        ("tasks", "deaths"),
        ("tasks", "lease_seconds"),
        ("jobs", "broken"),
        *(("jobs", name) for name in COUNTERS),
        ("jobs", "detail"),
        ("collections", "trashed_name"),
        ("collections", "trashed_at"),
    ):
        op.drop_column(table, name)
    _seen(("job_id", "image_id"), "DISTINCT job_id, image_id")
    op.drop_table("loose_files")
    op.drop_table("purges")
    # The installation's id stays, though 0002 does not know it: folders carry it, for the next upgrade.


def _jobs_and_tasks() -> None:
    op.add_column("jobs", flag("broken"))
    partial("ix_jobs_registering", "jobs", ["created_at"], "state = 'registering'")
    op.add_column("tasks", column("lease_seconds", sa.Double(), null=True))
    for name in ("deaths", "errors"):
        op.add_column("tasks", sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0")))


def _seen(key: tuple[str, ...], rows: str) -> None:
    """``job_seen`` under another key: a new table, for SQLite changes no key. It holds little, never long."""
    op.rename_table("job_seen", "job_seen_before")
    if op.get_context().dialect.name == "postgresql":  # names of keys are of the whole schema there
        op.drop_constraint("pk_job_seen", "job_seen_before")
        op.drop_constraint("fk_job_seen_job_id_jobs", "job_seen_before")
    source = [sa.Column("source_id", ID, nullable=False, server_default=sa.text("0"), autoincrement=False)]
    op.create_table(
        "job_seen",
        *texts("job_id", "image_id"),
        *(source if "source_id" in key else ()),
        sa.PrimaryKeyConstraint(*key, name="pk_job_seen"),
        foreign("job_seen", "job_id", "jobs"),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO job_seen ({', '.join(key)}) SELECT {rows} FROM job_seen_before")
    op.drop_table("job_seen_before")


def _installation() -> None:
    if sa.inspect(op.get_bind()).has_table("installation"):
        return
    table = op.create_table(
        "installation",
        *texts("id"),
        column("created_at", sa.Double()),
        *texts("stamp", "next_stamp", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_installation"),
    )
    op.bulk_insert(table, [{"id": uuid.uuid4().hex, "created_at": time.time()}])


def _loose_files() -> None:
    op.create_table(
        "loose_files",
        *texts("name", "kind", "state"),
        column("seen_at", sa.Double()),
        column("age", sa.Double()),
        sa.PrimaryKeyConstraint("name", name="pk_loose_files"),
        sqlite_with_rowid=False,
    )


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


def _digests(what: Literal["CREATE", "DROP"]) -> None:
    """On SQLite alone: PostgreSQL has checksums of its pages (see `store.row_digest`)."""
    if op.get_context().dialect.name != "sqlite":
        return
    for table, statement in zip(DIGESTS, statements(DIGESTS), strict=True):
        op.execute(statement if what == "CREATE" else f"DROP INDEX ix_{table}_digest")


def _tell_the_planner(indexes: dict[str, str]) -> None:
    """What 0002 said of a large catalog goes with its index (see `sqlite_0002.tell_the_planner`)."""
    if op.get_context().dialect.name != "sqlite":
        return
    for index, rows in indexes.items():
        op.execute(f"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('images', '{index}', '{rows}')")
    op.execute("ANALYZE sqlite_master")
