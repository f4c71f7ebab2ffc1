"""What pictures look like, and which of them are the same picture."""

import sqlalchemy as sa
from alembic import op

from sightline.store.migrations.columns import ID, column, foreign, texts
from sightline.store.row_digest import statements

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Both are empty: they are filled when somebody asks for duplicates."""
    op.create_table(
        "picture_hashes",
        sa.Column("key", ID, nullable=False, autoincrement=False),
        column("hash", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("key", name="pk_picture_hashes"),
        foreign("picture_hashes", "key", "images", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "same_pictures",
        column("id", ID),
        *texts("first", "second"),
        sa.PrimaryKeyConstraint("id", name="pk_same_pictures"),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_same_pictures_first_second", "same_pictures", ["first", "second"], unique=True)
    op.create_index("ix_same_pictures_second", "same_pictures", ["second"])
    if op.get_context().dialect.name == "sqlite":
        for statement in statements({"picture_hashes": ("hash",)}):
            op.execute(statement)


def downgrade() -> None:
    """Nothing is lost: all of it is found again."""
    op.drop_table("same_pictures")
    op.drop_table("picture_hashes")
