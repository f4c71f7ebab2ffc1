"""Tasks have turns, so that jobs take turns."""

import sqlalchemy as sa
from alembic import op

from sightline.store.migrations.columns import partial
from sightline.store.row_digest import statements

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BEFORE = ("kind", "state", "owner", "attempt", "lease_expires_at", "lease_seconds", "sent_at", "created_at",
          "errors", "deaths")  # fmt: skip
OPEN = "SELECT id, job_id, row_number() OVER (PARTITION BY job_id ORDER BY id) AS turn FROM tasks WHERE {}"
LAST = "SELECT job_id, max(turn) AS turn FROM tasks GROUP BY job_id"


def upgrade() -> None:
    """What waits stands in line as if it had all come at the same moment."""
    _digest(None)
    for table in ("jobs", "tasks"):
        op.add_column(table, sa.Column("turn", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    waiting = OPEN.format("state IN ('ready', 'leased')")
    op.execute(f"UPDATE tasks SET turn = open.turn FROM ({waiting}) AS open WHERE open.id = tasks.id")
    op.execute(f"UPDATE jobs SET turn = last.turn FROM ({LAST}) AS last WHERE last.job_id = jobs.id")
    op.create_index("ix_jobs_turn", "jobs", ["turn"])
    partial("ix_tasks_turn", "tasks", ["collection_id", "kind", "turn", "id"], "state = 'ready'")
    _digest((*BEFORE, "turn"))


def downgrade() -> None:
    _digest(None)
    op.drop_index("ix_tasks_turn", "tasks")
    op.drop_index("ix_jobs_turn", "jobs")
    for table in ("jobs", "tasks"):
        op.drop_column(table, "turn")
    _digest(BEFORE)


def _digest(columns: tuple[str, ...] | None) -> None:
    if op.get_context().dialect.name != "sqlite":
        return
    op.execute("DROP INDEX IF EXISTS ix_tasks_digest")
    for statement in statements({} if columns is None else {"tasks": columns}):
        op.execute(statement)
