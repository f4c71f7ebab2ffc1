"""The first schema."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from sightline.errors import ConflictError

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    _collections_and_jobs()
    _tasks_and_segments()
    _images()
    _generations_and_singletons()


def _partial(name: str, table: str, columns: list[str], where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _column(name: str, kind: Any, *more: Any, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, *more, nullable=null)


def _counter(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default=sa.text("0"))


def _foreign(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}_{to}")


def _collections_and_jobs() -> None:
    op.create_table(
        "collections",
        _column("id", ID),
        _column("name", sa.Text()),
        _column("model", sa.Text()),
        _column("revision", sa.Text(), null=True),
        _column("fingerprint", sa.Text()),
        _column("num_query_tokens", sa.Integer()),
        _column("joint_dim", sa.Integer()),
        _counter("version", sa.BigInteger()),
        _column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_collections"),
        sa.UniqueConstraint("name", name="uq_collections_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "jobs",
        _column("id", sa.Text()),
        _column("collection_id", ID),
        _column("kind", sa.Text()),
        _column("state", sa.Text()),
        sa.Column("sealed", sa.Boolean(), nullable=False, server_default=sa.false()),
        _counter("unchanged", sa.BigInteger()),
        _counter("deleted", sa.BigInteger()),
        _column("request", JSON),
        _column("created_at", sa.Double()),
        _column("updated_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        _foreign("jobs", "collection_id", "collections"),
    )
    op.create_index("ix_jobs_collection_id_created_at", "jobs", ["collection_id", "created_at"])
    op.create_index("ix_jobs_created_at", "jobs", ["created_at"])
    op.create_table(
        "job_seen",
        _column("job_id", sa.Text()),
        _column("image_id", sa.Text()),
        sa.PrimaryKeyConstraint("job_id", "image_id", name="pk_job_seen"),
        _foreign("job_seen", "job_id", "jobs"),
        sqlite_with_rowid=False,
    )


def _tasks_and_segments() -> None:
    op.create_table(
        "tasks",
        _column("id", ID),
        _column("job_id", sa.Text()),
        _column("collection_id", ID),
        _column("state", sa.Text()),
        _column("owner", sa.Text(), null=True),
        _counter("attempt", sa.Integer()),
        _column("lease_expires_at", sa.Double(), null=True),
        _column("sent_at", sa.Double(), null=True),
        _column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        _foreign("tasks", "job_id", "jobs"),
        _foreign("tasks", "collection_id", "collections"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tasks_job_id_state", "tasks", ["job_id", "state"])
    op.create_index("ix_tasks_collection_id", "tasks", ["collection_id"])
    _partial("ix_tasks_leased", "tasks", ["lease_expires_at"], "state = 'leased'")
    _partial("ix_tasks_ready", "tasks", ["sent_at"], "state = 'ready'")
    op.create_table(
        "segments",
        _column("id", ID),
        _column("collection_id", ID),
        _column("file", sa.Text()),
        _column("sha256", sa.Text()),
        _column("count", sa.Integer()),
        _column("codec", sa.Text()),
        _column("bytes", sa.BigInteger()),
        _column("state", sa.Text()),
        _column("created_at", sa.Double()),
        _column("retired_at", sa.Double(), null=True),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
        _foreign("segments", "collection_id", "collections"),
        sa.UniqueConstraint("file", name="uq_segments_file"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_segments_collection_id_state", "segments", ["collection_id", "state"])


def _images() -> None:
    op.create_table(
        "images",
        _column("key", ID),
        _column("collection_id", ID),
        _column("image_id", sa.Text()),
        _column("sha256", sa.Text()),
        _column("uri", sa.Text()),
        _column("caption", sa.Text(), null=True),
        _column("metadata", JSON),
        _column("width", sa.Integer(), null=True),
        _column("height", sa.Integer(), null=True),
        _column("bytes", sa.BigInteger()),
        _column("state", sa.Text()),
        _column("job_id", sa.Text(), null=True),
        _column("task_id", ID, null=True),
        _column("replaces_key", ID, null=True),
        _column("segment_id", ID, null=True),
        _column("row", sa.Integer(), null=True),
        _column("reason", sa.Text(), null=True),
        _column("detail", sa.Text(), null=True),
        _column("created_at", sa.Double()),
        _column("published_at", sa.Double(), null=True),
        _column("buried_at", sa.Double(), null=True),
        sa.PrimaryKeyConstraint("key", name="pk_images"),
        _foreign("images", "collection_id", "collections"),
        _foreign("images", "job_id", "jobs"),
        _foreign("images", "task_id", "tasks"),
        _foreign("images", "segment_id", "segments"),
        sqlite_autoincrement=True,
    )
    owner = ["collection_id", "image_id"]
    _partial("uq_images_live", "images", owner, "state = 'live'", unique=True)
    _partial("uq_images_pending", "images", owner, "state = 'pending'", unique=True)
    _partial("ix_images_failed", "images", owner, "state = 'failed'")
    _partial("ix_images_sha256", "images", ["collection_id", "sha256"], "state = 'live'")
    dead = "state IN ('buried', 'discarded') AND segment_id IS NOT NULL"
    _partial("ix_images_dead", "images", ["collection_id"], dead)
    op.create_index("ix_images_collection_id_state_key", "images", ["collection_id", "state", "key"])
    op.create_index("ix_images_job_id_state_replaces_key", "images", ["job_id", "state", "replaces_key"])
    op.create_index("ix_images_task_id", "images", ["task_id"])
    op.create_index("ix_images_segment_id", "images", ["segment_id"])


def _generations_and_singletons() -> None:
    op.create_table(
        "generations",
        sa.Column("collection_id", ID, nullable=False, autoincrement=False),
        _column("number", sa.BigInteger()),
        _column("file", sa.Text()),
        _column("sha256", sa.Text()),
        _column("covered", JSON),
        _column("images", sa.BigInteger()),
        _column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("collection_id", name="pk_generations"),
        _foreign("generations", "collection_id", "collections"),
    )
    op.create_table(
        "singletons",
        _column("name", sa.Text()),
        _column("owner", sa.Text()),
        _column("expires_at", sa.Double()),
        sa.PrimaryKeyConstraint("name", name="pk_singletons"),
    )


def downgrade() -> None:
    """An empty database again; ConflictError while there is anything in it."""
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM collections")):
        raise ConflictError("There is no schema before 0001: delete all collections before it is taken back.")
    for table in (
        "singletons",
        "generations",
        "images",
        "segments",
        "tasks",
        "job_seen",
        "jobs",
        "collections",
    ):
        op.drop_table(table)
    op.execute("DROP TABLE IF EXISTS installation")  # what 0003 leaves behind
