"""Brings a catalog to the newest schema. Of several processes that start together, one migrates."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from sightline.errors import InputError, UnavailableError
from sightline.store.database import Database
from sightline.store.patience import having

HEAD = "0010"
"""The newest migration: known here so that a start without work need not import Alembic (a test compares)."""

_ADVISORY_LOCK = 0x5167_4C49  # any constant that is ours: "SigL"


def migrate(database: Database) -> None:
    """Upgrades to HEAD in one transaction, under a lock. UnavailableError: the catalog is newer than this."""
    with having("request"):
        found = database.read(revision)
    if found != HEAD:
        with having("upkeep"):
            database.write(_upgrade)


def migrate_to(database: Database, target: str) -> str | None:
    """Up or down to a schema, in one transaction; which one it was before. All other processes are stopped.

    Raises:
        InputError: there is no such schema.
        ConflictError: something would be lost on the way down.
        UnavailableError: the catalog is newer than this.
    """
    known = [f"{number:04d}" for number in range(1, int(HEAD) + 1)]
    if target not in known:
        raise InputError(f"There is no schema {target!r}; known are {', '.join(known)}.")
    return database.write(partial(_move, target=target))


def revision(connection: Connection) -> str | None:
    """The schema's revision; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _upgrade(connection: Connection) -> None:
    _move(connection, HEAD)


def _move(connection: Connection, target: str) -> str | None:
    """The revision of before."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
    # SQLite: BEGIN IMMEDIATE is the lock. Either way another process may have finished while this one waited.
    found = revision(connection)
    if found == target:
        return found
    if found is not None and found > HEAD:
        raise UnavailableError(
            f"The catalog has schema {found}, newer than {HEAD} of this program: upgrade sightline."
        )
    if (
        found is None
        and connection.dialect.name == "sqlite"
        and set(inspect(connection).get_table_names()) - {"alembic_version"}
    ):
        raise InputError(
            f"The file {connection.engine.url.database} holds the tables of another program: name another"
            " place for the catalog, or put a backup there with `sightline restore`."
        )
    _run_alembic(connection, target, down=found is not None and found > target)
    return found


def _run_alembic(connection: Connection, target: str, *, down: bool) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    (command.downgrade if down else command.upgrade)(config, target)
