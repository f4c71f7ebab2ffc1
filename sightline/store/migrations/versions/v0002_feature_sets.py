"""Feature sets, placements, generations of several kinds, tasks of any kind, sources, released blobs.

Large tables are altered where the database can, and copied on SQLite, which cannot drop a column that is
part of a foreign key. A table that others refer to is renamed first, never dropped under them.
"""

import sqlalchemy as sa
from alembic import op

from sightline.store.migrations.columns import ID, JSON, column, flag, flagged, foreign, partial, texts

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MODEL = "model, revision, fingerprint, num_query_tokens, joint_dim"
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


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    _feature_sets()
    _sources()
    if sqlite:
        _copy_segments()
        _copy_images()
    else:
        _alter_segments()
        _alter_images()
    _generations()
    _placements("images_old" if sqlite else "images")
    if sqlite:
        op.drop_table("images_old")
        op.drop_table("segments_old")
    else:
        op.drop_column("images", "segment_id")
        op.drop_column("images", "row")
    _tasks()
    _released_blobs()
    if sqlite:
        _tell_the_planner()
    for name in MODEL.split(", "):
        op.drop_column("collections", name)


def downgrade() -> None:
    raise NotImplementedError(
        "Schema 0002 cannot be taken back without losing sources and feature sets: restore a backup."
    )


def _feature_sets() -> None:
    """One for each collection, of the model that it had."""
    op.create_table(
        "feature_sets",
        column("id", ID),
        column("collection_id", ID),
        *texts("model"),
        *texts("revision", null=True),
        *texts("fingerprint"),
        column("num_query_tokens", sa.Integer()),
        column("joint_dim", sa.Integer()),
        flag("serving"),
        column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_feature_sets"),
        foreign("feature_sets", "collection_id", "collections"),
        sa.UniqueConstraint("collection_id", "fingerprint", name="uq_feature_sets_collection_id_fingerprint"),
        sqlite_autoincrement=True,
    )
    flagged("uq_feature_sets_serving", "feature_sets", ["collection_id"], "serving", unique=True)
    op.execute(
        f"INSERT INTO feature_sets (collection_id, {MODEL}, serving, created_at)"
        f" SELECT id, {MODEL}, true, created_at FROM collections ORDER BY id"
    )


def _sources() -> None:
    op.create_table(
        "sources",
        column("id", ID),
        column("collection_id", ID),
        column("address", sa.Text()),
        column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_sources"),
        foreign("sources", "collection_id", "collections"),
        sa.UniqueConstraint("collection_id", "address", name="uq_sources_collection_id_address"),
        sqlite_autoincrement=True,
    )


def _alter_segments() -> None:
    op.add_column("segments", column("feature_set_id", ID, null=True))
    op.execute(
        "UPDATE segments SET feature_set_id = f.id FROM feature_sets f"
        " WHERE f.collection_id = segments.collection_id"
    )
    op.alter_column("segments", "feature_set_id", nullable=False)
    op.create_foreign_key(
        "fk_segments_feature_set_id_feature_sets", "segments", "feature_sets", ["feature_set_id"], ["id"]
    )
    op.drop_index("ix_segments_collection_id_state", "segments")
    op.drop_column("segments", "collection_id")
    op.create_index("ix_segments_feature_set_id_state", "segments", ["feature_set_id", "state"])


def _copy_segments() -> None:
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
        f"INSERT INTO segments ({SEGMENT}, feature_set_id) SELECT {_of('s', SEGMENT)}, f.id"
        " FROM segments_old s JOIN feature_sets f ON f.collection_id = s.collection_id ORDER BY s.id"
    )
    _keep_counting("segments")
    op.create_index("ix_segments_feature_set_id_state", "segments", ["feature_set_id", "state"])


def _of(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column.strip()}" for column in columns.split(","))


def _keep_counting(table: str) -> None:
    """No id is ever given twice: the new table counts on from where the old one was."""
    op.execute(f"DELETE FROM sqlite_sequence WHERE name = '{table}'")
    op.execute(f"UPDATE sqlite_sequence SET name = '{table}' WHERE name = '{table}_old'")


def _alter_images() -> None:
    for index in ("ix_images_dead", "ix_images_segment_id", "ix_images_sha256"):
        op.drop_index(index, "images")
    op.add_column("images", column("source_id", ID, null=True))
    op.create_foreign_key("fk_images_source_id_sources", "images", "sources", ["source_id"], ["id"])
    _new_image_indexes()


def _new_image_indexes() -> None:
    partial("ix_images_sha256", "images", ["sha256", "collection_id"], REFERRING)
    partial("ix_images_source_id", "images", ["source_id"], "source_id IS NOT NULL")


def _copy_images() -> None:
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
    _keep_counting("images")
    owner = ["collection_id", "image_id"]
    partial("uq_images_live", "images", owner, "state = 'live'", unique=True)
    partial("uq_images_pending", "images", owner, "state = 'pending'", unique=True)
    partial("ix_images_failed", "images", owner, "state = 'failed'")
    op.create_index("ix_images_collection_id_state_key", "images", ["collection_id", "state", "key"])
    op.create_index("ix_images_job_id_state_replaces_key", "images", ["job_id", "state", "replaces_key"])
    op.create_index("ix_images_task_id", "images", ["task_id"])
    _new_image_indexes()


def _generations() -> None:
    """At most one of each collection: read, made anew, written."""
    columns = "f.id AS feature_set_id, g.number, g.file, g.sha256, g.covered, g.images, g.created_at"
    join = "generations g JOIN feature_sets f ON f.collection_id = g.collection_id ORDER BY f.id"
    query = sa.text(f"SELECT {columns} FROM {join}").columns(covered=JSON)
    rows = [dict(row._mapping) for row in op.get_bind().execute(query)]
    op.drop_table("generations")
    table = op.create_table(
        "generations",
        column("id", ID),
        column("feature_set_id", ID),
        *texts("kind"),
        column("number", sa.BigInteger()),
        column("parameters", JSON),
        flag("serving"),
        *texts("file", "sha256"),
        column("covered", JSON),
        column("images", sa.BigInteger()),
        column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_generations"),
        foreign("generations", "feature_set_id", "feature_sets"),
        sa.UniqueConstraint(
            "feature_set_id", "kind", "number", name="uq_generations_feature_set_id_kind_number"
        ),
        sqlite_autoincrement=True,
    )
    flagged("uq_generations_serving", "generations", ["feature_set_id"], "serving", unique=True)
    op.bulk_insert(table, [{**row, "kind": "flat", "parameters": {}, "serving": True} for row in rows])


def _placements(images: str) -> None:
    """A row without a place in a file was only in the generation: that one may still hold it."""
    op.create_table(
        "placements",
        sa.Column("key", ID, nullable=False, autoincrement=False),
        sa.Column("feature_set_id", ID, nullable=False, autoincrement=False),
        column("segment_id", ID, null=True),
        column("row", sa.Integer(), null=True),
        flag("dead"),
        column("generation_id", ID, null=True),
        sa.PrimaryKeyConstraint("key", "feature_set_id", name="pk_placements"),
        foreign("placements", "key", "images", "key"),
        foreign("placements", "feature_set_id", "feature_sets"),
        foreign("placements", "segment_id", "segments"),
        sqlite_with_rowid=False,
    )
    of = f"FROM {images} i JOIN feature_sets f ON f.collection_id = i.collection_id"
    op.execute(
        'INSERT INTO placements (key, feature_set_id, segment_id, "row", dead)'
        f" SELECT i.key, f.id, i.segment_id, i.\"row\", i.state <> 'live' {of}"
        ' WHERE i.segment_id IS NOT NULL AND i."row" IS NOT NULL ORDER BY i.key'
    )
    op.execute(
        "INSERT INTO placements (key, feature_set_id, dead, generation_id)"
        f" SELECT i.key, f.id, true, g.id {of} JOIN generations g ON g.feature_set_id = f.id"
        ' WHERE i.segment_id IS NOT NULL AND i."row" IS NULL ORDER BY i.key'
    )
    flagged("ix_placements_dead", "placements", ["feature_set_id", "key"], "dead")
    op.create_index("ix_placements_segment_id", "placements", ["segment_id"])


def _tasks() -> None:
    op.add_column("tasks", sa.Column("kind", sa.Text(), nullable=False, server_default=sa.text("'embed'")))
    partial("ix_tasks_other", "tasks", ["job_id"], "kind <> 'embed'")
    op.create_table(
        "task_items",
        sa.Column("task_id", ID, nullable=False, autoincrement=False),
        sa.Column("key", ID, nullable=False, autoincrement=False),
        *texts("state"),
        *texts("reason", "detail", null=True),
        sa.PrimaryKeyConstraint("task_id", "key", name="pk_task_items"),
        foreign("task_items", "task_id", "tasks"),
        foreign("task_items", "key", "images", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_task_items_key", "task_items", ["key"])


def _released_blobs() -> None:
    """What was buried or discarded is released since then; the builder asks who still wants it."""
    op.create_table(
        "released_blobs",
        column("sha256", sa.Text()),
        column("since", sa.Double()),
        sa.PrimaryKeyConstraint("sha256", name="pk_released_blobs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_released_blobs_since", "released_blobs", ["since"])
    op.execute(
        "INSERT INTO released_blobs (sha256, since) SELECT sha256, max(coalesce(buried_at, created_at))"
        " FROM images WHERE state IN ('buried', 'discarded') AND sha256 <> '' GROUP BY sha256"
    )


def _tell_the_planner() -> None:
    """SQLite takes ten rows for all that a collection has, and would read them all to find a few by id.

    So it is told once what a large catalog looks like: rows of an index, then rows for each prefix.
    """
    op.execute("ANALYZE images")
    op.execute("DELETE FROM sqlite_stat1")
    for index, rows in LARGE.items():
        op.execute(f"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('images', '{index}', '{rows}')")
    op.execute("ANALYZE sqlite_master")
