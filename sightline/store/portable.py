"""A catalog as one SQLite file, whatever database it lives in: one instant of it, and back again.

The file has the schema of a fresh catalog: SQLite simply opens it, and PostgreSQL is filled from it. In it
nothing is under way: leased tasks are ready, no process holds a singleton lease, no generation is there (they
are built anew from segments) and no file that was replaced already is named. Counters go on where they were:
no key is ever given twice.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, make_url, select, text, update
from sqlalchemy.exc import ArgumentError

from sightline.errors import CatalogDamagedError, ConflictError, UnavailableError
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.damage import damaged, is_damage
from sightline.store.database import Database, make_engine
from sightline.store.metadata import METADATA
from sightline.store.schema import GenerationRow, PlacementRow, SegmentRow
from sightline.store.schema_upkeep import InstallationRow, SingletonRow
from sightline.store.schema_work import TaskRow
from sightline.store.sql.backups import is_unused

ROWS: Final = 1_000
"""Rows that are held at a time."""
COUNTED: Final = {
    name: next(iter(table.primary_key.columns)).name
    for name, table in METADATA.tables.items()
    if table.dialect_options["sqlite"]["autoincrement"]
}
"""Tables whose keys are never given twice, with the column that counts."""
_LOCAL_FILES: Final = "loose_files"
"""What a builder notes about files that lie about in its folders: of no meaning elsewhere."""


def sqlite_url(path: Path) -> str:
    """The catalog in a file."""
    return f"sqlite:///{path}"


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite catalog; None for another database, and for what `make_engine` refuses."""
    try:
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
    except ArgumentError:
        return None
    if not is_sqlite or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


# --- out --------------------------------------------------------------------------------------------------


def export_catalog(database: Database, target: Path) -> None:
    """One instant of a catalog into a new file, while others go on writing.

    Raises:
        CatalogDamagedError: what was copied is not sound; a copy of it would look like a backup.
    """
    if database.engine.dialect.name == "sqlite":
        _copy_pages(database, target)
    else:
        open_catalog(sqlite_url(target)).close()
        database.read(lambda source: _fill(source, target))
    with closing(open_catalog(sqlite_url(target))) as catalog:
        said = catalog.damages()
        if said:
            raise CatalogDamagedError(f"The catalog is damaged, so no backup of it was made. {said[0]}")
        catalog.database.write(_settle)
    make_single_file(target)


def _copy_pages(database: Database, target: Path) -> None:
    """By SQLite itself, all pages under one read lock: in WAL mode that keeps no writer waiting."""
    url = database.engine.url
    try:
        with closing(sqlite3.connect(str(url.database))) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise damaged(url, error) from error
        raise UnavailableError(f"The catalog cannot be copied now: {error}.") from error


def _fill(source: Connection, target: Path) -> None:
    """All rows of a snapshot; the counters after it, so that they cover all that it holds."""
    with closing(Database(make_engine(sqlite_url(target)))) as filled:
        filled.write(lambda connection: _replace_rows(source, connection))
        counters = {
            name: _last_given(source, name, column) for name, column in COUNTED.items()
        }  # fmt: skip
        filled.write(lambda connection: _count_on_sqlite(connection, counters))


def _last_given(connection: Connection, table: str, column: str) -> int:
    """Of a PostgreSQL sequence; 0 when it never gave a number."""
    sequence = connection.scalar(select(func.pg_get_serial_sequence(table, column)))
    last, called = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()
    return int(last) if called else 0


def _settle(connection: Connection) -> None:
    """Nothing is under way in a copy."""
    leased = update(TaskRow).where(TaskRow.state == "leased")
    connection.execute(leased.values(state="ready", owner=None, lease_expires_at=None, lease_seconds=None))
    connection.execute(update(TaskRow).where(TaskRow.state == "ready").values(sent_at=None))
    connection.execute(delete(SingletonRow))
    if _LOCAL_FILES in METADATA.tables:
        connection.execute(delete(METADATA.tables[_LOCAL_FILES]))
    # Keys that only a generation holds go with it.
    connection.execute(delete(PlacementRow).where(PlacementRow.segment_id.is_(None)))
    connection.execute(delete(GenerationRow))
    connection.execute(delete(SegmentRow).where(SegmentRow.state != "published"))


def make_single_file(path: Path) -> None:
    """All of it in the one file, without a log beside it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


# --- in ---------------------------------------------------------------------------------------------------


def prepare_catalog(path: Path) -> str:
    """Bring an exported file to this program's schema and give it an installation id of its own: the id.

    The installation that it came from may go on, in the same folders: neither may clean up after the other.
    """
    new = {"id": uuid.uuid4().hex, "created_at": time.time()}

    def rename(connection: Connection) -> None:
        connection.execute(delete(InstallationRow))
        connection.execute(insert(InstallationRow).values(new))

    with closing(open_catalog(sqlite_url(path))) as catalog:
        catalog.database.write(rename)
    make_single_file(path)
    return str(new["id"])


def point_to_store(catalog: Catalog, shas_by_uri: dict[str, str]) -> None:
    """Images whose original lay at one of these addresses (address → SHA-256) have it in the store now."""
    images = METADATA.tables["images"]
    statement = update(images).where(images.c.uri == bindparam("old"), images.c.sha256 == bindparam("sha"))
    rows = [{"old": uri, "sha": sha, "new": f"blob:{sha}"} for uri, sha in shas_by_uri.items()]
    if rows:
        catalog.database.write(
            lambda connection: connection.execute(statement.values(uri=bindparam("new")), rows)
        )


def import_catalog(path: Path, database: Database, *, replace: bool = True) -> None:
    """Fill a migrated catalog on any database from a prepared file, in one transaction; what it held goes.

    Without ``replace``: ConflictError when somebody has filled it meanwhile; one waits for another.
    """
    with closing(Database(make_engine(sqlite_url(path)))) as source:
        source.read(lambda rows: database.write(lambda target: _import(rows, target, replace=replace)))


def _import(source: Connection, target: Connection, *, replace: bool) -> None:
    if target.dialect.name == "postgresql":
        target.execute(text("LOCK TABLE installation IN EXCLUSIVE MODE"))  # its readers go on
    if not replace and not is_unused(target):
        raise ConflictError("Somebody has filled the catalog meanwhile: nothing was put in its place.")
    _replace_rows(source, target)
    counters = {
        str(name): int(last) for name, last in source.execute(text("SELECT name, seq FROM sqlite_sequence"))
    }
    if target.dialect.name == "sqlite":
        _count_on_sqlite(target, counters)
        return
    for name, column in COUNTED.items():
        last = counters.get(name, 0)
        sequence = func.pg_get_serial_sequence(name, column)
        target.execute(select(func.setval(sequence, max(last, 1), last > 0)))


def _count_on_sqlite(connection: Connection, counters: dict[str, int]) -> None:
    for name, last in counters.items():
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
        new = {"name": name, "seq": last}
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)"), new)


def _replace_rows(source: Connection, target: Connection) -> None:
    """All rows of all tables, referred-to tables first; nothing of what was there stays."""
    tables = METADATA.sorted_tables
    for table in reversed(tables):
        target.execute(delete(table))
    for table in tables:
        for rows in _pages(source, table):
            target.execute(insert(table), rows)


def _pages(source: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    order = list(table.primary_key.columns)
    streamed = source.execution_options(yield_per=ROWS)
    for page in streamed.execute(select(table).order_by(*order)).partitions(ROWS):
        yield [{column.key: row._mapping[column] for column in table.columns} for row in page]
