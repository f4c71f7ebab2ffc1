"""What the second schema does on SQLite alone, which cannot drop a column that is part of a foreign key.

The table is renamed, made anew and filled; the old one goes once nothing refers to it.
"""

import sqlalchemy as sa
from alembic import op

from sightline.store.migrations.columns import ID, JSON, column, foreign, partial, texts

IMAGE = (
    "key, collection_id, image_id, sha256, uri, caption, metadata, width, height, bytes, state, job_id,"
    " task_id, replaces_key, reason, detail, created_at, published_at, buried_at"
)
SEGMENT = "id, file, sha256, count, codec, bytes, state, created_at, retired_at"
LARGE = {
    "uq_images_live": "500000 100000 1",
    "uq_images_pending": "100000 100000 1",
    "ix_images_failed": "1000 1000 1",
    "ix_images_sha256": "600000 2 1",
    "ix_images_source_id": "600000 10000",
    "ix_images_collection_id_state_key": "1000000 300000 100000 1",
    "ix_images_job_id_state_replaces_key": "1000000 10000 5000 1000",
    "ix_images_task_id": "1000000 32",
}
REFERRING = "state IN ('live', 'pending', 'failed')"


def copy_segments() -> None:
    op.drop_index("ix_segments_collection_id_state", "segments")
    op.rename_table("segments", "segments_old")
    op.create_table(
        "segments",
        column("id", ID),
        *texts("file", "sha256", "codec"),
        column("count", sa.Integer()),
        column("bytes", sa.BigInteger()),
        column("state", sa.Text()),
        column("created_at", sa.Double()),
        column("retired_at", sa.Double(), null=True),
        column("feature_set_id", ID),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
        foreign("segments", "feature_set_id", "feature_sets"),
        sa.UniqueConstraint("file", name="uq_segments_file"),
        sqlite_autoincrement=True,
    )
    op.execute(
        f"INSERT INTO segments ({SEGMENT}, feature_set_id) SELECT {of('s', SEGMENT)}, f.id"
        " FROM segments_old s JOIN feature_sets f ON f.collection_id = s.collection_id ORDER BY s.id"
    )
    keep_counting("segments")
    op.create_index("ix_segments_feature_set_id_state", "segments", ["feature_set_id", "state"])


def of(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column.strip()}" for column in columns.split(","))


def keep_counting(table: str) -> None:
    """No id is ever given twice: the new table counts on from where the old one was."""
    op.execute(f"DELETE FROM sqlite_sequence WHERE name = '{table}'")
    op.execute(f"UPDATE sqlite_sequence SET name = '{table}' WHERE name = '{table}_old'")


def new_image_indexes() -> None:
    partial("ix_images_sha256", "images", ["sha256", "collection_id"], REFERRING)
    partial("ix_images_source_id", "images", ["source_id"], "source_id IS NOT NULL")


def copy_images() -> None:
    for index in sa.inspect(op.get_bind()).get_indexes("images"):
        op.drop_index(str(index["name"]), "images")
    op.rename_table("images", "images_old")
    op.create_table(
        "images",
        column("key", ID),
        column("collection_id", ID),
        *texts("image_id", "sha256", "uri", "state"),
        *texts("caption", "job_id", "reason", "detail", null=True),
        column("metadata", JSON),
        column("width", sa.Integer(), null=True),
        column("height", sa.Integer(), null=True),
        column("bytes", sa.BigInteger()),
        column("task_id", ID, null=True),
        column("replaces_key", ID, null=True),
        column("created_at", sa.Double()),
        column("published_at", sa.Double(), null=True),
        column("buried_at", sa.Double(), null=True),
        column("source_id", ID, null=True),
        sa.PrimaryKeyConstraint("key", name="pk_images"),
        foreign("images", "collection_id", "collections"),
        foreign("images", "job_id", "jobs"),
        foreign("images", "task_id", "tasks"),
        foreign("images", "source_id", "sources"),
        sqlite_autoincrement=True,
    )
    op.execute(f"INSERT INTO images ({IMAGE}) SELECT {IMAGE} FROM images_old ORDER BY key")
    keep_counting("images")
    owner = ["collection_id", "image_id"]
    partial("uq_images_live", "images", owner, "state = 'live'", unique=True)
    partial("uq_images_pending", "images", owner, "state = 'pending'", unique=True)
    partial("ix_images_failed", "images", owner, "state = 'failed'")
    op.create_index("ix_images_collection_id_state_key", "images", ["collection_id", "state", "key"])
    op.create_index("ix_images_job_id_state_replaces_key", "images", ["job_id", "state", "replaces_key"])
    op.create_index("ix_images_task_id", "images", ["task_id"])
    new_image_indexes()


def tell_the_planner() -> None:
    """SQLite takes ten rows for all that a collection has, and would read them all to find a few by id.

    So it is told once what a large catalog looks like: rows of an index, then rows for each prefix.
    """
    op.execute("ANALYZE images")
    op.execute("DELETE FROM sqlite_stat1")
    for index, rows in LARGE.items():
        op.execute(f"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('images', '{index}', '{rows}')")
    op.execute("ANALYZE sqlite_master")
