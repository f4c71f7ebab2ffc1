"""Feature sets, placements, generations of several kinds, tasks of any kind, sources, released blobs.

Large tables are altered where the database can, and copied on SQLite, which cannot drop a column that is
part of a foreign key. A table that others refer to is renamed first, never dropped under them.
"""

import sqlalchemy as sa
from alembic import op

from sightline.store.migrations import back_0002 as back
from sightline.store.migrations import sqlite_0002 as on_sqlite
from sightline.store.migrations.columns import ID, JSON, column, flag, flagged, foreign, partial, texts
from sightline.store.migrations.sqlite_0002 import new_image_indexes

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MODEL = "model, revision, fingerprint, num_query_tokens, joint_dim"


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    _feature_sets()
    _sources()
    if sqlite:
        on_sqlite.copy_segments()
        on_sqlite.copy_images()
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
        on_sqlite.tell_the_planner()
    for name in MODEL.split(", "):
        op.drop_column("collections", name)


def downgrade() -> None:
    """All but the addresses of sources and the list of released bytes; else ConflictError."""
    back.refuse_losses()
    sqlite = op.get_context().dialect.name == "sqlite"
    back.collections()
    if sqlite:
        back.copy_segments()
        back.copy_images()
    else:
        back.alter_segments()
        back.alter_images()
    op.drop_table("placements")
    back.tasks()
    back.generations()
    for table in (*(("images_old", "segments_old") if sqlite else ()), "feature_sets", "sources"):
        op.drop_table(table)
    op.drop_table("released_blobs")


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


def _alter_images() -> None:
    for index in ("ix_images_dead", "ix_images_segment_id", "ix_images_sha256"):
        op.drop_index(index, "images")
    op.add_column("images", column("source_id", ID, null=True))
    op.create_foreign_key("fk_images_source_id_sources", "images", "sources", ["source_id"], ["id"])
    new_image_indexes()


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
