"""From the second schema back to the first, with the rows: what the first cannot hold is refused before.

The addresses of sources go, and the list of released bytes, which the next upgrade makes anew. Large tables
are altered where the database can, and copied on SQLite, as on the way up.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from sightline.errors import ConflictError
from sightline.store.migrations.columns import ID, JSON, column, foreign, partial, texts
from sightline.store.migrations.sqlite_0002 import IMAGE, SEGMENT, keep_counting, of

MODEL = "model, revision, fingerprint, num_query_tokens, joint_dim"
LOSSES = {
    "a second feature set": "SELECT count(*) FROM feature_sets WHERE NOT serving",
    "an index of another kind than flat, or one that does not serve": (
        "SELECT count(*) FROM generations WHERE kind <> 'flat' OR NOT serving"
    ),
    "tasks that do not embed": "SELECT (SELECT count(*) FROM task_items)"
    " + (SELECT count(*) FROM tasks WHERE kind <> 'embed' AND state IN ('ready', 'leased'))",
}
"""What would be lost → how often there is some."""
HOME = (
    "coalesce(p.segment_id,"
    " (SELECT max(s.id) FROM segments s WHERE s.collection_id = i.collection_id AND p.key IS NOT NULL))"
)
"""The segment of a key. One that only the generation holds names any of its collection's, and no row."""


def refuse_losses() -> None:
    """ConflictError: the first schema has no place for something that somebody made."""
    found = [what for what, query in LOSSES.items() if op.get_bind().scalar(sa.text(query))]
    if found:
        raise ConflictError(
            f"Schema 0001 has no place for {' and '.join(found)}: delete the collections that have them, or "
            "restore a backup from before."
        )


def collections() -> None:
    """Carry their model again, that of their one feature set."""
    for name in MODEL.split(", "):
        op.add_column("collections", _model_column(name))
        op.execute(
            f"UPDATE collections SET {name} = (SELECT f.{name} FROM feature_sets f"
            " WHERE f.collection_id = collections.id AND f.serving)"
        )
        if op.get_context().dialect.name != "sqlite" and name != "revision":
            op.alter_column("collections", name, nullable=False)


def _model_column(name: str) -> sa.Column[Any]:
    """SQLite adds no column that must not be null unless it has a default; PostgreSQL is told later."""
    numeric = name in ("num_query_tokens", "joint_dim")
    kind: Any = sa.Integer() if numeric else sa.Text()
    if name == "revision" or op.get_context().dialect.name != "sqlite":
        return column(name, kind, null=True)
    return sa.Column(name, kind, nullable=False, server_default=sa.text("0" if numeric else "''"))


def alter_segments() -> None:
    """PostgreSQL."""
    op.add_column("segments", column("collection_id", ID, null=True))
    op.execute(
        "UPDATE segments SET collection_id = f.collection_id FROM feature_sets f"
        " WHERE f.id = segments.feature_set_id"
    )
    op.alter_column("segments", "collection_id", nullable=False)
    op.create_foreign_key(
        "fk_segments_collection_id_collections", "segments", "collections", ["collection_id"], ["id"]
    )
    op.drop_index("ix_segments_feature_set_id_state", "segments")
    op.drop_column("segments", "feature_set_id")
    op.create_index("ix_segments_collection_id_state", "segments", ["collection_id", "state"])


def alter_images() -> None:
    """PostgreSQL."""
    for index in ("ix_images_sha256", "ix_images_source_id"):
        op.drop_index(index, "images")
    op.drop_column("images", "source_id")
    op.add_column("images", column("segment_id", ID, null=True))
    op.add_column("images", column("row", sa.Integer(), null=True))
    op.execute(
        f'UPDATE images SET segment_id = {HOME.replace("i.", "images.")}, "row" = p."row"'
        " FROM placements p WHERE p.key = images.key"
    )
    op.create_foreign_key("fk_images_segment_id_segments", "images", "segments", ["segment_id"], ["id"])
    _image_indexes()


def copy_segments() -> None:
    """SQLite."""
    op.drop_index("ix_segments_feature_set_id_state", "segments")
    op.rename_table("segments", "segments_old")
    op.create_table(
        "segments",
        column("id", ID),
        column("collection_id", ID),
        *texts("file", "sha256"),
        column("count", sa.Integer()),
        *texts("codec"),
        column("bytes", sa.BigInteger()),
        *texts("state"),
        column("created_at", sa.Double()),
        column("retired_at", sa.Double(), null=True),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
        foreign("segments", "collection_id", "collections"),
        sa.UniqueConstraint("file", name="uq_segments_file"),
        sqlite_autoincrement=True,
    )
    op.execute(
        f"INSERT INTO segments ({SEGMENT}, collection_id) SELECT {of('s', SEGMENT)}, f.collection_id"
        " FROM segments_old s JOIN feature_sets f ON f.id = s.feature_set_id ORDER BY s.id"
    )
    keep_counting("segments")
    op.create_index("ix_segments_collection_id_state", "segments", ["collection_id", "state"])


def copy_images() -> None:
    """SQLite."""
    for index in sa.inspect(op.get_bind()).get_indexes("images"):
        op.drop_index(str(index["name"]), "images")
    op.rename_table("images", "images_old")
    op.create_table(
        "images",
        column("key", ID),
        column("collection_id", ID),
        *texts("image_id", "sha256", "uri"),
        *texts("caption", null=True),
        column("metadata", JSON),
        column("width", sa.Integer(), null=True),
        column("height", sa.Integer(), null=True),
        column("bytes", sa.BigInteger()),
        *texts("state"),
        *texts("job_id", null=True),
        column("task_id", ID, null=True),
        column("replaces_key", ID, null=True),
        column("segment_id", ID, null=True),
        column("row", sa.Integer(), null=True),
        *texts("reason", "detail", null=True),
        column("created_at", sa.Double()),
        column("published_at", sa.Double(), null=True),
        column("buried_at", sa.Double(), null=True),
        sa.PrimaryKeyConstraint("key", name="pk_images"),
        foreign("images", "collection_id", "collections"),
        foreign("images", "job_id", "jobs"),
        foreign("images", "task_id", "tasks"),
        foreign("images", "segment_id", "segments"),
        sqlite_autoincrement=True,
    )
    op.execute(
        f'INSERT INTO images ({IMAGE}, segment_id, "row") SELECT {of("i", IMAGE)}, {HOME}, p."row"'
        " FROM images_old i LEFT JOIN placements p ON p.key = i.key ORDER BY i.key"
    )
    keep_counting("images")
    owner = ["collection_id", "image_id"]
    partial("uq_images_live", "images", owner, "state = 'live'", unique=True)
    partial("uq_images_pending", "images", owner, "state = 'pending'", unique=True)
    partial("ix_images_failed", "images", owner, "state = 'failed'")
    op.create_index("ix_images_collection_id_state_key", "images", ["collection_id", "state", "key"])
    op.create_index("ix_images_job_id_state_replaces_key", "images", ["job_id", "state", "replaces_key"])
    op.create_index("ix_images_task_id", "images", ["task_id"])
    _image_indexes()


def _image_indexes() -> None:
    partial("ix_images_sha256", "images", ["collection_id", "sha256"], "state = 'live'")
    dead = "state IN ('buried', 'discarded') AND segment_id IS NOT NULL"
    partial("ix_images_dead", "images", ["collection_id"], dead)
    op.create_index("ix_images_segment_id", "images", ["segment_id"])


def generations() -> None:
    """One of each collection. Where no segment is left nothing is left to find, and it goes."""
    columns = (
        "f.collection_id AS collection_id, g.number, g.file, g.sha256, g.covered, g.images, g.created_at"
    )
    some = "EXISTS (SELECT 1 FROM segments s WHERE s.collection_id = f.collection_id)"
    query = sa.text(
        f"SELECT {columns} FROM generations g JOIN feature_sets f ON f.id = g.feature_set_id WHERE {some}"
    ).columns(covered=JSON)
    rows = [dict(row._mapping) for row in op.get_bind().execute(query)]
    op.drop_table("generations")
    table = op.create_table(
        "generations",
        sa.Column("collection_id", ID, nullable=False, autoincrement=False),
        column("number", sa.BigInteger()),
        *texts("file", "sha256"),
        column("covered", JSON),
        column("images", sa.BigInteger()),
        column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("collection_id", name="pk_generations"),
        foreign("generations", "collection_id", "collections"),
    )
    op.bulk_insert(table, rows)


def tasks() -> None:
    """All of them embed."""
    op.drop_table("task_items")
    op.drop_index("ix_tasks_other", "tasks")
    op.drop_column("tasks", "kind")
