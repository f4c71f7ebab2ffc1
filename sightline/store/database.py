"""One engine, two kinds of transactions: ``read`` sees one instant, ``write`` is all or nothing.

SQLite: WAL, ``synchronous=FULL``, foreign keys; a writer starts with BEGIN IMMEDIATE, because a deferred
read that then writes fails with "database is locked" at once, whatever the timeout.
PostgreSQL: writers run READ COMMITTED and lock rows, readers run REPEATABLE READ, read only. A writer that
the database asks to try again (deadlock, serialization failure) is tried again.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sightline.circuit import Circuit
from sightline.errors import InputError, NoRoomError, OverloadedError, UnavailableError
from sightline.faultpoint import faultpoint
from sightline.store.damage import damaged, damaged_value, is_damage
from sightline.store.full_text import MISSING
from sightline.store.patience import patience, waiting_at_most
from sightline.store.settings import DatabaseSettings
from sightline.store.sqlite import WRITES, is_log_emptied, sqlite_engine
from sightline.store.values import INT64

Result = TypeVar("Result")

_FULL = ("database or disk is full", "no space left on device")
_LOCKED = "database is locked"
_NO_FILE = "unable to open database file"
_READ_ONLY = "attempt to write a readonly database"
_TRIES = 8
_TRY_AGAIN = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected


def make_engine(url: str, settings: DatabaseSettings | None = None) -> Engine:
    """An engine with this project's settings; ``postgresql://`` means psycopg 3. Nothing is connected yet."""
    settings = settings or DatabaseSettings()
    try:
        parsed = _with_driver(make_url(url))
        if parsed.get_backend_name() == "sqlite":
            return sqlite_engine(parsed, settings, dump_json, _load_plain_json)
        if parsed.get_backend_name() == "postgresql":
            from sightline.store.postgres import postgres_engine

            return postgres_engine(parsed, settings, dump_json, load_json)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise InputError(f"The catalog url cannot be used: {error}.") from error
    raise InputError(f"The catalog is SQLite or PostgreSQL, not {parsed.get_backend_name()!r}.")


def dump_json(value: object) -> str:
    """Compact JSON. Not escaped to ASCII: SQLite compares the keys of a path with the raw text."""
    return _ENCODER.encode(value)


def load_json(text: str | bytes) -> Any:
    """PostgreSQL writes 1e300 with all its digits: beyond 64 bits it was a float.

    Raises CatalogDamagedError for what is no JSON: only `dump_json` writes it.
    """
    try:
        return _DECODER.decode(text if isinstance(text, str) else str(text, "utf-8"))
    except ValueError as error:
        raise damaged_value(error) from error


def _load_plain_json(text: str) -> Any:
    """As `load_json`, of what SQLite gives back as it was written."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise damaged_value(error) from error


def _integer(digits: str) -> int | float:
    if len(digits) < 19:
        return int(digits)
    value = int(digits)
    return value if -INT64 <= value < INT64 else float(digits)


# Made once: json.loads and json.dumps with an argument make one for every row.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_int=_integer)


def _with_driver(url: URL) -> URL:
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url


class Database:
    """Runs functions of a connection as transactions. Thread-safe.

    Every wait (for a connection, a statement, a lock) has an end, which depends on who asks: see
    ``store.patience``. While the database does not answer, requests are refused at once.
    """

    def __init__(self, engine: Engine, settings: DatabaseSettings | None = None) -> None:
        self.engine = engine
        self._settings = settings or DatabaseSettings()
        self._circuit = Circuit(self._settings.rest_seconds)
        self._writers = engine.execution_options(**{WRITES: True})
        self._readers = engine
        if engine.dialect.name == "postgresql":
            self._readers = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """All that ``work`` selects is of one instant.

        Raises:
            UnavailableError: the database is not there, or does not answer in time.
        """
        try:
            with self._begun(self._readers) as connection:
                return work(connection)
        except (DBAPIError, sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self._complain(error)
            raise
        except UnicodeEncodeError as error:
            raise _no_text(error) from error
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            # A row that holds what nobody wrote ends in such; so does a mistake of ours.
            torn = self._torn()
            if torn is not None:
                raise damaged(self.engine.url, torn) from error
            raise

    def _torn(self) -> str | None:
        """What SQLite finds wrong with its file; None when it is sound, or another database's business."""
        if self.engine.dialect.name != "sqlite":
            return None
        with self._readers.begin() as connection:
            said = str(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar())
        return None if said == "ok" else said

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """All or nothing. ``work`` may run several times, so it touches nothing but its connection.

        A connection that breaks during COMMIT leaves the outcome unknown: that raises UnavailableError and
        is not tried again here. NoRoomError: its disk is full.
        """
        for left in reversed(range(_TRIES)):
            try:
                with self._begun(self._writers) as connection:
                    result = work(connection)
                    faultpoint("catalog.committing")
                faultpoint("catalog.committed")
                return result
            except (DBAPIError, sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if left and getattr(getattr(error, "orig", None), "sqlstate", None) in _TRY_AGAIN:
                    time.sleep(random.uniform(0.0, 0.02 * (_TRIES - left)))
                else:
                    self._complain(error)
                    raise
            except UnicodeEncodeError as error:
                raise _no_text(error) from error
        raise AssertionError("unreachable: the last try returns or raises")

    def forget_old_pages(self, seconds: float) -> bool:
        """Empties SQLite's write-ahead log, which holds what was written before; else there is nothing to do.

        False when others kept it in use for that long.
        """
        if self.engine.dialect.name != "sqlite":
            return True
        deadline = time.monotonic() + seconds
        while not is_log_emptied(str(self.engine.url.database)):
            if time.monotonic() >= deadline:
                return False
            time.sleep(random.uniform(0.005, 0.05))
        return True

    def _complain(self, error: DBAPIError | sqlite3.DatabaseError | UnicodeDecodeError) -> None:
        """Raise what it means for a person; return when it is a mistake of ours.

        A connection that cannot be made raises the driver's own error, without SQLAlchemy's around it, and a
        damaged schema may make SQLite complain in bytes that are no text.
        """
        cause = error.orig if isinstance(error, DBAPIError) else error
        if is_damage(cause):
            raise damaged(self.engine.url, cause) from error
        if isinstance(error, OperationalError | InterfaceError | sqlite3.OperationalError):
            raise self._unavailable(cause) from error

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _begun(self, engine: Engine) -> Iterator[Connection]:
        """A transaction on a connection that lives; it ends with the block."""
        hurried = patience.get() == "request"
        if hurried and not self._circuit.may_ask():
            raise UnavailableError("The catalog database did not answer a moment ago; try again soon.")
        try:
            with waiting_at_most(self._settings.connect_seconds):
                connection = engine.connect()
            seconds = self._settings.request_seconds if hurried else self._settings.work_seconds
            with connection, waiting_at_most(seconds), connection.begin():
                yield connection
        except PoolTimeoutError as error:
            raise OverloadedError(
                "Too many wait for a connection to the catalog database already; try again soon."
            ) from error
        except DBAPIError as error:
            if isinstance(error.orig, TimeoutError):
                self._circuit.failed()
            raise
        self._circuit.succeeded()

    def _unavailable(self, cause: object) -> UnavailableError:
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        said = lines[0].strip().rstrip(".")
        if any(words in said.lower() for words in _FULL):
            where = self.engine.url.host or self.engine.url.database
            return NoRoomError(f"The disk is full at the catalog in {where} ({said}); free some room there.")
        if said == _READ_ONLY:
            return UnavailableError(
                "The catalog can only be read here: searches and lists work, and nothing can be changed. Run "
                "this where its folder may be written to."
            )
        if said == MISSING:
            return UnavailableError(
                "SQLite was built here without full-text search (FTS5), which the catalog needs: use a "
                "Python with another SQLite, or PostgreSQL."
            )
        if said == _NO_FILE:
            return UnavailableError(
                f"The catalog {self.engine.url.database} is not there, or cannot be opened: put it back "
                "where it was, or stop all processes and restore a backup with `sightline restore`."
            )
        if said == _LOCKED:
            return UnavailableError(
                "Another process has been writing to the catalog for too long (database is locked); try "
                "again when it is done."
            )
        return UnavailableError(f"The catalog database cannot be used now: {said}.")


def _no_text(error: UnicodeEncodeError) -> InputError:
    """Whoever asked for it asked for nothing that is stored: bytes of a command line need not be text."""
    return InputError(f"{error.object!a:.100} is not valid Unicode, so nothing stored is called so.")
