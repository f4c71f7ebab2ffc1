"""Every wait for the database has an end, and a database that goes on is used again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from sightline.circuit import Circuit
from sightline.errors import NoRoomError, OverloadedError, UnavailableError
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.patience import Patience, having
from sightline.store.settings import DatabaseSettings
from tests.services import own_postgres
from tests.stopped import OwnPostgres, silent_port

QUICK = DatabaseSettings(
    connect_seconds=0.3, request_seconds=0.5, work_seconds=0.6, lock_seconds=0.3, rest_seconds=0.0
)
BOUND = 60
"""Far beyond every limit: a wait without one fails here."""

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path_factory.mktemp("stopped")) as (url, folder):
        yield OwnPostgres(f"{url}/postgres", folder)


def ends(work: Callable[[], object], kind: Patience = "request") -> BaseException | None:
    """What ``work`` raises. Fails when it does not end."""

    def patient() -> object:
        with having(kind):
            return work()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(patient).exception(BOUND)


@pytest.mark.parametrize("kind", ["request", "work"])
def test_a_stopped_server_ends_every_wait_and_is_used_again_when_it_goes_on(
    server: OwnPostgres, kind: Patience
) -> None:
    with closing(open_catalog(server.url, settings=QUICK)) as catalog:
        asked, go_on = threading.Event(), threading.Event()

        def in_hand() -> None:
            def work(connection: object) -> None:
                asked.set()
                assert go_on.wait(BOUND)
                connection.execute(text("SELECT 1"))  # type: ignore[attr-defined]

            with having(kind):
                catalog.database.read(work)

        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(in_hand)
            assert asked.wait(BOUND)
            with server.stopped():
                go_on.set()
                assert isinstance(under_way.exception(BOUND), UnavailableError)
                assert isinstance(ends(catalog.collections, kind), UnavailableError)
        assert catalog.collections() == []


def test_while_it_hangs_requests_are_refused_at_once(server: OwnPostgres) -> None:
    waiting = DatabaseSettings(connect_seconds=0.3, request_seconds=0.5, rest_seconds=3600.0)
    with closing(open_catalog(server.url, settings=waiting)) as catalog, server.stopped():
        assert isinstance(ends(catalog.collections), UnavailableError)
        with having("request"), pytest.raises(UnavailableError, match="a moment ago"):
            catalog.collections()


def test_an_address_that_never_answers_ends_the_wait_for_a_connection() -> None:
    with silent_port() as port:
        error = ends(lambda: open_catalog(f"postgresql://nobody@127.0.0.1:{port}/x", settings=QUICK), "work")
    assert isinstance(error, UnavailableError)


def test_a_server_that_lives_ends_a_statement_itself_and_keeps_the_connection(server: OwnPostgres) -> None:
    with closing(open_catalog(server.url, settings=QUICK)) as catalog:
        process = catalog.database.read(lambda connection: connection.scalar(text("SELECT pg_backend_pid()")))
        error = ends(lambda: catalog.database.read(lambda c: c.execute(text("SELECT pg_sleep(3600)"))))
        assert isinstance(error, UnavailableError)
        assert "statement timeout" in str(error)
        again = catalog.database.read(lambda connection: connection.scalar(text("SELECT pg_backend_pid()")))
        assert again == process


def test_a_lock_that_is_not_given_back_ends_the_wait_for_it(server: OwnPostgres) -> None:
    with closing(open_catalog(server.url, settings=QUICK)) as catalog:
        lock = text("SELECT pg_advisory_xact_lock(1)")
        holder = catalog.database.engine.connect()
        holder.execute(lock)
        error = ends(lambda: catalog.database.write(lambda connection: connection.execute(lock)))
        holder.close()
    assert isinstance(error, UnavailableError)


def test_too_many_for_the_connections_are_told_so(tmp_path: Path) -> None:
    hasty = DatabaseSettings(connect_seconds=0.1)
    with closing(open_catalog(f"sqlite:///{tmp_path}/catalog.sqlite", settings=hasty)) as catalog:
        held = [catalog.database.engine.connect() for _ in range(64)]
        with pytest.raises(OverloadedError):
            catalog.collections()
        for connection in held:
            connection.close()
        assert catalog.collections() == []


def locked(catalog: Catalog, kind: Patience) -> BaseException | None:
    return ends(lambda: catalog.acquire_singleton("x", "y", 1.0), kind)


@pytest.mark.parametrize("kind", ["request", "work"])
def test_another_writer_of_sqlite_is_waited_for_and_then_named(tmp_path: Path, kind: Patience) -> None:
    path = tmp_path / "catalog.sqlite"
    with closing(open_catalog(f"sqlite:///{path}", settings=QUICK)) as catalog:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            error = locked(catalog, kind)
            assert isinstance(error, UnavailableError)
            assert "Another process" in str(error)
            other.execute("ROLLBACK")
        assert locked(catalog, kind) is None


def test_a_migration_of_another_process_is_waited_for_longer_than_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    patient = DatabaseSettings(lock_seconds=0.05, work_seconds=BOUND)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(1.0, lambda: other.execute("ROLLBACK"))
        timer.start()
        with closing(open_catalog(f"sqlite:///{path}", settings=patient)) as catalog:
            assert catalog.collections() == []
        timer.join(timeout=BOUND)


def test_a_full_sqlite_says_so_and_takes_more_when_there_is_room(tmp_path: Path) -> None:
    with closing(open_catalog(f"sqlite:///{tmp_path}/catalog.sqlite")) as catalog:
        catalog.database.engine.dispose()
        pages = catalog.database.read(lambda connection: connection.scalar(text("PRAGMA page_count")))
        big = "x" * 1_000_000

        def fill(connection: object) -> None:
            connection.execute(text(f"PRAGMA max_page_count={pages}"))  # type: ignore[attr-defined]
            connection.execute(text("CREATE TABLE big (x TEXT)"))  # type: ignore[attr-defined]
            connection.execute(text("INSERT INTO big VALUES (:x)"), {"x": big})  # type: ignore[attr-defined]

        with pytest.raises(NoRoomError):
            catalog.database.write(fill)
        catalog.database.engine.dispose()
        assert catalog.acquire_singleton("x", "y", 1.0)


def test_after_a_rest_one_caller_asks_for_all() -> None:
    now = [0.0]
    circuit = Circuit(2.0, clock=lambda: now[0])
    assert circuit.may_ask()
    assert circuit.may_ask()
    circuit.failed()
    assert not circuit.may_ask()
    now[0] = 2.0
    assert circuit.may_ask()
    assert not circuit.may_ask()
    circuit.succeeded()
    assert circuit.may_ask()
