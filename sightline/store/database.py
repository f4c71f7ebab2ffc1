"""One engine, two kinds of transactions: ``read`` sees one instant, ``write`` is all or nothing.

SQLite: WAL, ``synchronous=FULL``, foreign keys; a writer starts with BEGIN IMMEDIATE, because a deferred
read that then writes fails with "database is locked" at once, whatever the timeout.
PostgreSQL: writers run READ COMMITTED and lock rows, readers run REPEATABLE READ, read only. A writer that
the database asks to try again (deadlock, serialization failure) is tried again.

SQL functions become methods of the catalog here, one transaction each: ``job = read(find_job)`` makes of
``find_job(connection, job_id)`` the method ``catalog.job(job_id)``. Type checkers see the function's
parameters, ``help`` shows them, and nobody repeats them.
"""

from __future__ import annotations

import inspect
import json
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError

from sightline.errors import InputError, UnavailableError
from sightline.store import row_digest
from sightline.store.damage import damaged, damaged_value, is_damage
from sightline.store.values import INT64

Result = TypeVar("Result")

BUSY_SECONDS = 30.0
"""How long a writer of SQLite waits for another one."""

_TRIES = 8
_TRY_AGAIN = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
_WRITES = "sightline_writes"


def make_engine(url: str) -> Engine:
    """An engine with this project's settings; ``postgresql://`` means psycopg 3. Nothing is connected yet."""
    try:
        parsed = _with_driver(make_url(url))
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(parsed)
        if parsed.get_backend_name() == "postgresql":
            return create_engine(
                parsed,
                json_serializer=dump_json,
                json_deserializer=load_json,
                pool_pre_ping=True,
                pool_size=8,
                max_overflow=24,
            )
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise InputError(f"The catalog url cannot be used: {error}.") from error
    raise InputError(f"The catalog is SQLite or PostgreSQL, not {parsed.get_backend_name()!r}.")


def dump_json(value: object) -> str:
    """Compact JSON. Not escaped to ASCII: SQLite compares the keys of a path with the raw text."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


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


# Made once: json.loads with an argument makes one for every row.
_DECODER = json.JSONDecoder(parse_int=_integer)


def _with_driver(url: URL) -> URL:
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url


def _sqlite_engine(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise InputError("The catalog needs a file: several connections share it.")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        json_serializer=dump_json,
        json_deserializer=_load_plain_json,
        connect_args={"timeout": BUSY_SECONDS},
        pool_size=16,
        max_overflow=48,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    _enter_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    row_digest.install(connection)


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Two processes that switch a new file at once can get "locked" without waiting: wait here."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.005, 0.05))


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Database:
    """Runs functions of a connection as transactions. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writers = engine.execution_options(**{_WRITES: True})
        self._readers = engine
        if engine.dialect.name == "postgresql":
            self._readers = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """All that ``work`` selects is of one instant. UnavailableError: the database is not there."""
        try:
            with self._readers.begin() as connection:
                return work(connection)
        except (DBAPIError, sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self._complain(error)
            raise
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
        is not tried again here.
        """
        for left in reversed(range(_TRIES)):
            try:
                with self._writers.begin() as connection:
                    return work(connection)
            except (DBAPIError, sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if left and getattr(getattr(error, "orig", None), "sqlstate", None) in _TRY_AGAIN:
                    time.sleep(random.uniform(0.0, 0.02 * (_TRIES - left)))
                else:
                    self._complain(error)
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    def _complain(self, error: DBAPIError | sqlite3.DatabaseError | UnicodeDecodeError) -> None:
        """Raise what it means for a person; return when it is a mistake of ours.

        A connection that cannot be made raises the driver's own error, without SQLAlchemy's around it, and a
        damaged schema may make SQLite complain in bytes that are no text.
        """
        cause = error.orig if isinstance(error, DBAPIError) else error
        if is_damage(cause):
            raise damaged(self.engine.url, cause) from error
        if isinstance(error, OperationalError | InterfaceError | sqlite3.OperationalError):
            raise _unavailable(cause) from error

    def close(self) -> None:
        self.engine.dispose()


def _unavailable(cause: object) -> UnavailableError:
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return UnavailableError(f"The catalog database cannot be used now: {lines[0].rstrip('.')}.")


# SQL functions as methods

Parameters = ParamSpec("Parameters")
Class = TypeVar("Class", bound=type)


class Place(Protocol):
    """What such a method needs of its object: the database, and the time in seconds since the epoch."""

    database: Database
    now: Callable[[], float]


def read(
    statement: Callable[Concatenate[Connection, Parameters], Result],
) -> Callable[Concatenate[Place, Parameters], Result]:
    """All that the method reads is of one instant."""

    def method(place: Place, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return place.database.read(lambda connection: statement(connection, *args, **kwargs))

    _describe(method, statement, given=1)
    return method


def read_at(
    statement: Callable[Concatenate[Connection, float, Parameters], Result],
) -> Callable[Concatenate[Place, Parameters], Result]:
    """As ``read``, for a function that is told the time."""

    def method(place: Place, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return place.database.read(lambda connection: statement(connection, place.now(), *args, **kwargs))

    _describe(method, statement, given=2)
    return method


def write(
    statement: Callable[Concatenate[Connection, Parameters], Result],
) -> Callable[Concatenate[Place, Parameters], Result]:
    """All that the method writes, or nothing."""

    def method(place: Place, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return place.database.write(lambda connection: statement(connection, *args, **kwargs))

    _describe(method, statement, given=1)
    return method


def write_at(
    statement: Callable[Concatenate[Connection, float, Parameters], Result],
) -> Callable[Concatenate[Place, Parameters], Result]:
    """As ``write``, for a function that is told the time."""

    def method(place: Place, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return place.database.write(lambda connection: statement(connection, place.now(), *args, **kwargs))

    _describe(method, statement, given=2)
    return method


def _describe(method: Any, statement: Callable[..., object], given: int) -> None:
    """Gives it the docstring and the signature of the function, but for the ``given`` first parameters."""
    signature = inspect.signature(statement)
    own = list(signature.parameters.values())[given:]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(parameters=[itself, *own])
    method.__doc__ = statement.__doc__
    method.__module__ = statement.__module__


def named(catalog: Class) -> Class:
    """Gives the methods of a class the names that they have there."""
    for name, method in vars(catalog).items():
        if inspect.isfunction(method):
            method.__name__, method.__qualname__ = name, f"{catalog.__name__}.{name}"
    return catalog
