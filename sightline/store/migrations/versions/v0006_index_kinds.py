"""What kind of index a collection wants."""

from collections.abc import Mapping, Sequence

from alembic import op

from sightline.store.migrations.columns import texts
from sightline.store.row_digest import statements

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BEFORE = {"collections": ("version", "created_at", "trashed_at", "trashed_name")}
DIGESTS = {"collections": ("version", "created_at", "trashed_at", "trashed_name", "index_kind")}


def upgrade() -> None:
    op.add_column("collections", *texts("index_kind", null=True))
    _digests(DIGESTS)


def downgrade() -> None:
    """Generations of kinds that 0005 does not know stay: it scans every segment in their place."""
    _digests({})
    op.drop_column("collections", "index_kind")
    _digests(BEFORE)


def _digests(columns: Mapping[str, Sequence[str]]) -> None:
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP INDEX IF EXISTS ix_collections_digest")
        for statement in statements(columns):
            op.execute(statement)
