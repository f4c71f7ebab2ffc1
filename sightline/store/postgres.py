"""PostgreSQL: connections on which no wait is without an end. Needs psycopg; imported by ``make_engine``.

A server whose process is stopped keeps its sockets: the kernel acknowledges what we send, so that neither
keep-alives nor ``tcp_user_timeout`` notice, and such a server enforces no ``statement_timeout``. So every
wait is bounded here too, by closing the connection. A server that lives ends a statement a little earlier by
itself, which keeps the connection.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from typing import Any, Final

import psycopg
from sqlalchemy import URL, Engine, create_engine, event

from sightline.store.patience import patience, wait_seconds, waiting_at_most
from sightline.store.settings import DatabaseSettings

IDLE_SECONDS: Final = 60
"""A transaction that asks nothing for so long is of a process that was stopped: its locks are freed."""
_NETWORK: Final[dict[str, int]] = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""How soon a machine that is gone is noticed; libpq's names and units."""
_SLEEPING: Final = 0
"""What psycopg's steps are told when nothing has come for a moment (its ``Ready.NONE``)."""


class NotAnsweredError(psycopg.OperationalError, TimeoutError):
    """The server did not answer in time; the connection is closed."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when the server does not answer within what the context allows."""

    told_ms: int = -1
    """The ``statement_timeout`` that the server was told last."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Every wait for an answer on this connection passes here."""
        seconds = wait_seconds.get() if timeout is None else timeout
        try:
            return super().wait(_bounded(gen, seconds), interval)
        except NotAnsweredError:
            self.pgconn.finish()
            raise


def _bounded(steps: Any, seconds: float) -> Generator[Any, Any, Any]:
    """psycopg's steps, ended by an error when nothing has come for so long. Progress does not reset it."""
    until = time.monotonic() + seconds
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if ready == _SLEEPING and time.monotonic() >= until:
                raise NotAnsweredError(f"it did not answer within {seconds:g} s")
            wanted = steps.send(ready)
    except StopIteration as end:
        return end.value


def postgres_engine(
    url: URL, settings: DatabaseSettings, dump: Callable[[Any], str], load: Callable[[str], Any]
) -> Engine:
    """An engine of bounded connections; ``dump`` and ``load`` write and read the JSON of its columns."""
    given = {name: value for name, value in _NETWORK.items() if name not in url.query}
    if "connect_timeout" not in url.query:
        given["connect_timeout"] = max(2, math.ceil(settings.connect_seconds))
    engine = create_engine(
        url,
        json_serializer=dump,
        json_deserializer=load,
        connect_args=given,
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=24,
        pool_timeout=settings.connect_seconds,
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "checkout", lambda connection, record, proxy: _tell(connection, settings))
    return engine


def _connect(_dialect: object, _record: object, arguments: Any, options: Any) -> BoundedConnection:
    try:
        return BoundedConnection.connect(*arguments, **options)
    except psycopg.errors.ConnectionTimeout as error:
        raise NotAnsweredError(f"it did not answer within {options['connect_timeout']} s") from error


def _tell(connection: BoundedConnection, settings: DatabaseSettings) -> None:
    """The server ends statements itself, a little before we would: what it computes for nobody ends too."""
    seconds = settings.request_seconds if patience.get() == "request" else settings.work_seconds
    wanted = math.ceil(1000 * (seconds - min(1.0, seconds / 10)))
    if connection.told_ms == wanted:
        return
    with waiting_at_most(settings.connect_seconds):
        connection.execute(
            "SELECT set_config('statement_timeout', %s, false),"
            " set_config('idle_in_transaction_session_timeout', %s, false)",
            (str(wanted), str(1000 * IDLE_SECONDS)),
        )
        connection.commit()
    connection.told_ms = wanted
