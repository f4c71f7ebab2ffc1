"""What the database itself says of its file: SQLite looks at every page, PostgreSQL is not asked.

PostgreSQL checks its own pages as it reads them (`data_checksums`), and `check` reads nearly all of them.
"""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from sightline.errors import CatalogDamagedError
from sightline.store.damage import is_damage
from sightline.store.schema import Base

MOST = 20
"""Sentences of one check, at most: a file that is torn apart has thousands."""


def _read(connection: Connection) -> list[str]:
    """Whether every value of every table can be read at all."""
    try:
        for table in Base.metadata.sorted_tables:
            rows = connection.execution_options(yield_per=1_000).execute(select(table))
            for _ in rows:
                continue
    except DBAPIError as error:
        return [f"A table of the catalog cannot be read: {error.orig}."]
    except (CatalogDamagedError, UnicodeDecodeError, TypeError, ValueError, OverflowError) as error:
        return [f"A row of the catalog cannot be read: {error}."]
    return []


def damages(connection: Connection, quick: bool = False) -> list[str]:
    """One sentence for each damage of a SQLite file; ``quick`` does not compare tables with their indexes."""
    if connection.dialect.name != "sqlite":
        return []
    check = "quick_check" if quick else "integrity_check"
    try:
        found = [str(row[0]) for row in connection.exec_driver_sql(f"PRAGMA {check}({MOST})")]
        strays = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(MOST)
    except DBAPIError as error:
        if not is_damage(error.orig):
            raise
        return [f"SQLite's {check} cannot go on: {error.orig}."]
    lines = [line.strip().rstrip(".") for text in found if text != "ok" for line in text.splitlines()]
    told = [f"SQLite's {check}: {line}." for line in lines[:MOST]] or ([] if quick else _read(connection))
    return told + [f"A row of {row[0]} refers to a row of {row[2]} that is not there." for row in strays]
