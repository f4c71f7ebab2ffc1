"""Several texts an image, each with its source and its verdict; captions are the first of them."""

import hashlib
import time

import sqlalchemy as sa
from alembic import op

from sightline.errors import ConflictError
from sightline.store.full_text import CREATE, DROP
from sightline.store.migrations.columns import ID, column, flag, foreign, texts
from sightline.store.row_digest import statements
from sightline.store.words import indexed

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

DIGESTS = {
    "texts": ("model", "text", "words", "log_probability", "match_probability", "judge", "verdict",
              "overruled", "job_id", "created_at"),
}  # fmt: skip
AT_ONCE = 1_000
"""Rows that are filled at a time."""


def upgrade() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    op.create_table(
        "texts",
        column("id", ID),
        column("key", ID),
        column("collection_id", ID),
        *texts("source"),
        *texts("model", null=True),
        *texts("text", "digest", "words"),
        column("log_probability", sa.Double(), null=True),
        column("match_probability", sa.Double(), null=True),
        *texts("judge", null=True),
        *texts("verdict"),
        flag("overruled"),
        *texts("job_id", null=True),
        column("created_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_texts"),
        foreign("texts", "key", "images", "key"),
        foreign("texts", "collection_id", "collections"),
        sa.UniqueConstraint("key", "source", "digest", name="uq_texts_key_source_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_texts_collection_id_id", "texts", ["collection_id", "id"])
    for statement in (*statements(DIGESTS), *CREATE) if sqlite else ():
        op.execute(statement)
    _fill()
    if not sqlite:
        op.execute(
            "CREATE INDEX ix_texts_words ON texts USING gin (array_to_tsvector(string_to_array(words, ' ')))"
            " WHERE verdict <> 'dropped'"
        )


def downgrade() -> None:
    """Captions stay in ``images``; what models wrote and made is lost, and can be made again.

    Whoever goes back decides about the verdicts of people before.
    """
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM texts WHERE overruled")):
        raise ConflictError(
            "Schema 0004 has no place for what people decided about texts: export the texts, withdraw these "
            "verdicts, and go back then."
        )
    _give_up_features()
    if op.get_context().dialect.name == "sqlite":
        op.execute(DROP)
    op.drop_table("texts")


def _give_up_features() -> None:
    """Those of models that do not serve: 0004 tends none of them. Their files go as those of merged ones."""
    others = "feature_set_id IN (SELECT id FROM feature_sets WHERE NOT serving)"
    op.execute(f"DELETE FROM placements WHERE {others}")
    retire = (
        f"UPDATE segments SET state = 'retired', retired_at = :now WHERE state = 'published' AND {others}"
    )
    op.get_bind().execute(sa.text(retire), {"now": time.time()})


def _fill() -> None:
    """A text for each caption there is."""
    bind = op.get_bind()
    page = sa.text(
        "SELECT key, collection_id, caption, created_at FROM images WHERE key > :after AND caption <> ''"
        " AND state IN ('live', 'pending', 'failed', 'trashed') ORDER BY key LIMIT :most"
    )
    add = sa.text(
        "INSERT INTO texts (key, collection_id, source, text, digest, words, verdict, created_at)"
        " VALUES (:key, :collection_id, 'given', :caption, :digest, :words, 'unjudged', :created_at)"
    )
    after = 0
    while rows := bind.execute(page, {"after": after, "most": AT_ONCE}).all():
        after = rows[-1].key
        bind.execute(add, [_filled(row) for row in rows])


def _filled(row: "sa.Row[tuple[int, int, str, float]]") -> dict[str, object]:
    hashed = hashlib.blake2b(row.caption.encode("utf-8", "surrogatepass"), digest_size=16)
    words = indexed(row.collection_id, row.caption)
    return {**row._mapping, "digest": hashed.hexdigest(), "words": words}
