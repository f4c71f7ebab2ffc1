"""Catalogs of schema 0001, made with its own migration and filled by plain SQL."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, text

import sightline.store.migrate
from sightline.store.database import Database, make_engine

MIGRATIONS = Path(sightline.store.migrate.__file__).parent / "migrations"


def make_old(url: str) -> Database:
    """An empty catalog as the first version made it."""
    database = Database(make_engine(url))
    database.write(_first_schema)
    return database


def _first_schema(connection: Connection) -> None:
    command.upgrade(_config(connection), "0001")


def downgrade_to_base(connection: Connection) -> None:
    """No table is left."""
    command.downgrade(_config(connection), "base")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def copy_rows(source: Engine, target: Database) -> None:
    """All rows of all tables into the same tables of another database, whose counters go on after them."""
    tables, copies = MetaData(), MetaData()
    tables.reflect(source)
    copies.reflect(target.engine)

    def write(connection: Connection) -> None:
        for table in tables.sorted_tables:
            if table.name == "alembic_version":
                continue
            with source.connect() as reading:
                rows = [dict(row._mapping) for row in reading.execute(table.select())]
            if rows:
                connection.execute(copies.tables[table.name].insert(), rows)
        for table, column in (("collections", "id"), ("tasks", "id"), ("segments", "id"), ("images", "key")):
            last = f"(SELECT coalesce(max({column}), 0) + 1 FROM {table})"
            connection.execute(text(f"SELECT setval('{table}_{column}_seq', {last}, false)"))

    target.write(write)
