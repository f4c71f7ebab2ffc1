"""Catalogs of earlier schemas, made with their own migrations and filled by plain SQL."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, text

import sightline.store.migrate
from sightline.store import full_text
from sightline.store.database import Database, make_engine

COUNTED = {
    "collections": "id",
    "tasks": "id",
    "segments": "id",
    "images": "key",
    "feature_sets": "id",
    "sources": "id",
    "generations": "id",
    "texts": "id",
}
MIGRATIONS = Path(sightline.store.migrate.__file__).parent / "migrations"


def make_old(url: str, revision: str = "0001") -> Database:
    """An empty catalog as the first version, or a later one, made it."""
    database = Database(make_engine(url))
    database.write(lambda connection: command.upgrade(_config(connection), revision))
    return database


def downgrade_to_base(connection: Connection) -> None:
    """No table is left."""
    command.downgrade(_config(connection), "base")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def copy_rows(source: Engine, target: Database) -> None:
    """All rows of all tables in place of those of another database, whose counters go on after them."""
    tables, copies = MetaData(), MetaData()
    tables.reflect(source)
    copies.reflect(target.engine)

    def write(connection: Connection) -> None:
        for table in tables.sorted_tables:
            if table.name == "alembic_version" or table.name.startswith(full_text.NAME):
                continue
            with source.connect() as reading:
                rows = [dict(row._mapping) for row in reading.execute(table.select())]
            connection.execute(copies.tables[table.name].delete())  # a fresh one has an id of its own
            if rows:
                connection.execute(copies.tables[table.name].insert(), rows)
        for table, column in COUNTED.items():
            if table not in tables.tables or column not in tables.tables[table].columns:
                continue
            last = f"(SELECT coalesce(max({column}), 0) + 1 FROM {table})"
            connection.execute(text(f"SELECT setval('{table}_{column}_seq', {last}, false)"))

    target.write(write)
