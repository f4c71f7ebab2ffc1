"""SQLite: every connection prepared, every wait for another writer bounded."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DisconnectionError

from sightline.errors import InputError
from sightline.store import moments, row_digest
from sightline.store.patience import patience
from sightline.store.settings import DatabaseSettings

_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
WRITES: Final = "sightline_writes"
"""The execution option of connections whose transactions write."""


def sqlite_engine(
    url: URL, settings: DatabaseSettings, dump: Callable[[Any], str], load: Callable[[str], Any]
) -> Engine:
    """An engine on a file; ``dump`` and ``load`` write and read the JSON of its columns."""
    if not url.database or url.database == ":memory:":
        raise InputError("The catalog needs a file: several connections share it.")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    file = Path(url.database)
    if is_read_only(file):
        return _reading_engine(file, settings, dump, load)
    engine = create_engine(
        url,
        json_serializer=dump,
        json_deserializer=load,
        connect_args={"timeout": settings.lock_seconds},
        pool_size=16,
        max_overflow=48,
        pool_timeout=settings.connect_seconds,
    )
    event.listen(engine, "do_connect", _Opening())
    event.listen(engine, "connect", lambda connection, _: _prepare_sqlite(connection, settings))
    event.listen(engine, "checkout", lambda connection, record, _: _bound_locks(connection, record, settings))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


class _Opening:
    """Connects to the file. The first connection of an engine may make it, no later one ever does.

    A catalog that went away while this process ran would come back as an empty one, which has no keys.
    """

    def __init__(self) -> None:
        self._was_there = False

    def __call__(self, dialect: Any, record: Any, args: Any, options: dict[str, Any]) -> sqlite3.Connection:
        mode = "rw" if self._was_there else "rwc"
        address = _address(Path(args[0]), mode)
        connection: sqlite3.Connection = sqlite3.connect(address, **{**options, "uri": True})
        self._was_there = True
        return connection


def _address(file: Path, mode: str) -> str:
    # As bytes: names of folders need not be text.
    return f"file:{quote(os.fsencode(file.absolute()))}?mode={mode}"


def has_tables(file: Path) -> bool:
    """Whether a file holds anything that a catalog could be: not when it is missing, or empty.

    What cannot be read now, or is no SQLite at all, is not empty: whoever opens it says what is wrong.
    """
    if not file.exists():
        return False
    mode = "ro" if is_read_only(file) else "rw"  # the log, in which all of it may lie, is read with a file
    try:
        with closing(sqlite3.connect(_address(file, mode), uri=True, timeout=1.0)) as connection:
            return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()[0])
    except sqlite3.Error:
        return True


def is_read_only(file: Path) -> bool:
    """Whether there is a catalog here that this process cannot write to, or not beside it."""
    return file.exists() and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def _reading_engine(
    file: Path, settings: DatabaseSettings, dump: Callable[[Any], str], load: Callable[[str], Any]
) -> Engine:
    """An engine that reads only; a write is refused by SQLite.

    SQLite keeps an index of its log beside the file, also to read it. Where it cannot, a file without a log
    is opened as one that nobody changes. Once a log is there, somebody does: such connections end then.
    """
    log = file.with_name(f"{file.name}-wal")

    def connect() -> sqlite3.Connection:
        address = _address(file, "ro") + ("" if _has_bytes(log) else "&immutable=1")
        return sqlite3.connect(address, uri=True, timeout=settings.lock_seconds, check_same_thread=False)

    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        row_digest.install(connection)
        moments.install(connection)
        record.info["has_log"] = _has_bytes(log)

    def check(connection: Any, record: Any, proxy: Any) -> None:
        if _has_bytes(log) and not record.info["has_log"]:
            raise DisconnectionError("Somebody writes to the catalog by now.")

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        json_serializer=dump,
        json_deserializer=load,
        pool_size=16,
        max_overflow=48,
        pool_timeout=settings.connect_seconds,
    )
    engine.url = engine.url.set(database=str(file))
    event.listen(engine, "connect", prepare)
    event.listen(engine, "checkout", check)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _has_bytes(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def _bound_locks(connection: Any, record: Any, settings: DatabaseSettings) -> None:
    """How long this user of the connection waits for other writers."""
    seconds = {
        "request": min(settings.request_seconds, settings.lock_seconds),
        "work": settings.lock_seconds,
        "upkeep": max(settings.work_seconds, settings.lock_seconds),
    }[patience.get()]
    if record.info.get("lock_seconds") != seconds:
        connection.execute(f"PRAGMA busy_timeout={int(1000 * seconds)}")
        record.info["lock_seconds"] = seconds


def _prepare_sqlite(connection: Any, settings: DatabaseSettings) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    _enter_wal(connection, settings.lock_seconds)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    row_digest.install(connection)
    moments.install(connection)
    connection.execute("PRAGMA secure_delete=ON")  # what was deleted or replaced is overwritten with zeros


def _enter_wal(connection: sqlite3.Connection, seconds: float) -> None:
    """Two processes that switch a new file at once can get "locked" without waiting: wait here."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _LOCKED or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.005, 0.05))


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def is_log_emptied(file: str) -> bool:
    """Empty the write-ahead log; False while somebody reads from it or writes, and when there is no file.

    On a connection that does not wait: while it did, it would keep all writers waiting too.
    """
    try:
        with closing(sqlite3.connect(_address(Path(file), "rw"), uri=True, timeout=0.0)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:  # locked, or gone
        return False
    return not busy
