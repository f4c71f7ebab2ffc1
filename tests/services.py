"""Real services for tests: PostgreSQL, Redis and RabbitMQ, each test with a corner of its own.

A service that is missing skips the test with one line; with SIGHTLINE_REQUIRE_SERVICES=1 it fails it. Tests
that use these fixtures get the marker ``services`` by themselves (tests/conftest.py).

    postgres_url    an empty schema of a database of this run, dropped afterwards
    catalog_url     "sqlite" and "postgres" in turn: an empty place for a catalog
    module_catalog_url   the same, one for all tests of a module
    redis_url       a Redis server of our own on a free port, emptied for every test
    rabbitmq_url    the local RabbitMQ (guest); use ``queue_name`` so that tests do not meet
    queue_name      a name nobody else uses; the queue of that name is deleted afterwards
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

SERVICE_FIXTURES = frozenset({"postgres_url", "redis_url", "rabbitmq_url"})
START_SECONDS = 20.0


def missing(sentence: str) -> NoReturn:
    """Skips, or fails where services are required."""
    if os.environ.get("SIGHTLINE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{sentence} (SIGHTLINE_REQUIRE_SERVICES=1)", pytrace=False)
    pytest.skip(sentence)


def free_port() -> int:
    """A port for a process that is started next.

    It lies below those that the system gives to outgoing connections, and each worker of a run draws from a
    thousand of its own: nobody else takes it meanwhile.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 15_000 + 1000 * (worker % 16)
    for port in random.sample(range(first, first + 1000), 1000):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> bool:
    """True once something listens; False when the process ended first or it took too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False


# PostgreSQL


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``postgresql://user@host:port`` of a server where we may create databases; started if none answers."""
    for user in ("postgres", "root", os.environ.get("USER", "postgres")):
        server = f"postgresql://{user}@127.0.0.1:5432"
        if _may_create(server):
            yield server
            return
    with own_postgres(tmp_path_factory.mktemp("postgres")) as (server, _):
        yield server


def _may_create(server: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(f"{server}/postgres", connect_timeout=3) as connection:
            row = connection.execute(
                "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            )
            found = row.fetchone()
            return bool(found and found[0])
    except psycopg.Error:
        return False


@contextlib.contextmanager
def own_postgres(folder: Path) -> Iterator[tuple[str, Path]]:
    """A server of our own on a free port (``postgresql://user@host:port`` and its folder, which is given),
    started with the installed binaries. PostgreSQL refuses to run as root: another user runs it then.
    """
    binaries = _postgres_binaries()
    if binaries is None:
        missing("PostgreSQL is not installed")
    as_user: list[str] = []
    if os.geteuid() == 0:
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
        for parent in folder.parents:  # pytest keeps its folders to their owner
            if parent.name.startswith(("pytest-", "popen-")):
                parent.chmod(0o755)
    data, port = folder / "data", free_port()
    create = [
        *as_user,
        str(binaries / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
    ]
    subprocess.run(create, check=True, capture_output=True, timeout=120, cwd="/")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
    log = ["-l", str(folder / "log")]
    subprocess.run(
        [*control, *log, "-o", options, "start"], check=True, capture_output=True, timeout=60, cwd="/"
    )
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}", folder
    finally:
        subprocess.run(
            [*control, "-m", "immediate", "stop"], check=False, capture_output=True, timeout=60, cwd="/"
        )


def _postgres_binaries() -> Path | None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3])
    if installed:
        return installed[-1].parent
    found = shutil.which("initdb")
    return Path(found).parent if found else None


@contextlib.contextmanager
def _database(server: str) -> Iterator[str]:
    import psycopg

    name = f"sightline_test_{uuid.uuid4().hex[:16]}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{server}/{name}"
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _postgres_shared(postgres_server: str) -> Iterator[str]:
    with _database(postgres_server) as url:
        yield url


@contextlib.contextmanager
def _postgres_schema(database_url: str) -> Iterator[str]:
    """An empty schema of the run's one database: ten times cheaper than a database per test."""
    import psycopg

    name = f"test_{uuid.uuid4().hex[:16]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        try:
            yield f"{database_url}?options=-csearch_path%3D{name}%20-csynchronous_commit%3Doff"
        finally:
            connection.execute("SET client_min_messages TO warning")
            connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def postgres_url(_postgres_shared: str) -> Iterator[str]:
    """An empty schema, dropped afterwards."""
    with _postgres_schema(_postgres_shared) as url:
        yield url


BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.services)]


@contextlib.contextmanager
def _catalog_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/catalog.sqlite"
        return
    with _postgres_schema(request.getfixturevalue("_postgres_shared")) as url:
        yield url


@pytest.fixture(params=BOTH)
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty place for a catalog: the same test runs on SQLite and on PostgreSQL."""
    with _catalog_place(request, tmp_path) as url:
        yield url


@pytest.fixture(params=BOTH, scope="module")
def module_catalog_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """One place for all tests of a module, which clean up after each other: migrating takes a while."""
    with _catalog_place(request, tmp_path_factory.mktemp("catalog")) as url:
        yield url


# Redis


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        missing("redis-server is not installed")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL) as process:
        try:
            if not wait_for_port(port, process):
                missing(f"redis-server did not start on port {port}")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(timeout=START_SECONDS)


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """Our own Redis server, empty."""
    import redis

    with redis.Redis.from_url(_redis_server) as client:
        client.flushall()
    return _redis_server


# RabbitMQ


@pytest.fixture
def rabbitmq_url() -> str:
    """The local server's default virtual host (a private one costs ten seconds of rabbitmqctl)."""
    url = "amqp://guest:guest@127.0.0.1:5672//"
    if not _rabbitmq_answers(url):
        missing("RabbitMQ does not answer on 127.0.0.1:5672 as guest")
    return url


def _rabbitmq_answers(url: str) -> bool:
    from kombu.connection import Connection

    try:
        with Connection(url, connect_timeout=3) as connection:  # type: ignore[no-untyped-call]
            connection.connect()
    except OSError:
        return False
    return True


@pytest.fixture
def queue_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A queue name nobody else uses; on RabbitMQ the queue and its exchange are deleted afterwards."""
    name = f"sightline-test-{uuid.uuid4().hex[:16]}"
    yield name
    if "rabbitmq_url" not in request.fixturenames:
        return
    from kombu.connection import Connection

    url = str(request.getfixturevalue("rabbitmq_url"))
    with Connection(url, connect_timeout=3) as connection:  # type: ignore[no-untyped-call]
        channel = connection.channel()
        channel.queue_delete(name)
        channel.exchange_delete(name)
