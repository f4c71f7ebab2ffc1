"""Several workers on servers (PostgreSQL, Redis, RabbitMQ): one of them is killed, or the broker itself."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.indexer.world import (
    SHORT,
    Knobs,
    Processes,
    World,
    any_leased,
    assert_done_once,
    kill,
    stop_all,
    tended,
    until,
)
from tests.services import free_port, missing, wait_for_port


@pytest.fixture
def processes() -> Iterator[Processes]:
    started: Processes = []
    yield started
    stop_all(started)


def new_world(folder: Path, catalog: str, broker: str, queue: str, delay: float) -> World:
    knobs = Knobs(catalog=catalog, broker=broker, queue=queue, delay=delay, sends=True, indexer=SHORT)
    world = World(folder, knobs)
    world.create()
    return world


def published_by(world: World, worker: int) -> int:
    return (world.data / f"worker-{worker}.log").read_text().count('"task published"')


def one_of_two_workers_is_killed(world: World, processes: Processes) -> None:
    names = world.draw(48)
    processes += [world.start("worker"), world.start("worker")]
    job = world.index()
    until("both to work", lambda: published_by(world, 0) and published_by(world, 1))
    until("a batch to be under way", lambda: any_leased(world, job.id))
    kill(processes[0])
    with tended(world, fold_min_images=10):
        assert_done_once(world, job.id, names)
    assert kill(processes[1], signal.SIGTERM) == 0, world.logs()
    world.close()


def many_kills(world: World, processes: Processes) -> None:
    """20 kills while two workers do 200 batches."""
    names = world.draw(800)
    job = world.index()
    random = np.random.default_rng(1)
    running = [world.start("worker"), world.start("worker")]
    processes += running
    with tended(world, fold_min_images=50):
        for number in range(20):
            doomed = number % 2
            latest = len(processes) - 2 + doomed if number < 2 else len(processes) - 2
            until("the worker to do something", lambda latest=latest: published_by(world, latest))
            time.sleep(float(random.uniform(0, 1.0)))
            kill(running[doomed])
            running[doomed] = world.start("worker")
            processes.append(running[doomed])
        assert_done_once(world, job.id, names)
    world.close()


def test_postgresql_and_redis_with_two_workers(
    tmp_path: Path, postgres_url: str, redis_url: str, queue_name: str, processes: Processes
) -> None:
    world = new_world(tmp_path, postgres_url, redis_url, queue_name, delay=0.1)
    one_of_two_workers_is_killed(world, processes)


def test_postgresql_and_rabbitmq_with_two_workers(
    tmp_path: Path, postgres_url: str, rabbitmq_url: str, queue_name: str, processes: Processes
) -> None:
    world = new_world(tmp_path, postgres_url, rabbitmq_url, queue_name, delay=0.1)
    one_of_two_workers_is_killed(world, processes)


@pytest.mark.long
def test_20_kills_on_postgresql_and_redis(
    tmp_path: Path, postgres_url: str, redis_url: str, queue_name: str, processes: Processes
) -> None:
    many_kills(new_world(tmp_path, postgres_url, redis_url, queue_name, delay=0.05), processes)


@pytest.mark.long
def test_20_kills_on_postgresql_and_rabbitmq(
    tmp_path: Path, postgres_url: str, rabbitmq_url: str, queue_name: str, processes: Processes
) -> None:
    many_kills(new_world(tmp_path, postgres_url, rabbitmq_url, queue_name, delay=0.05), processes)


@contextmanager
def redis_on(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis that keeps nothing; killed with -9 at the end."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        missing("redis-server is not installed")
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        assert wait_for_port(port, process)
        yield process
    finally:
        process.kill()
        process.wait(timeout=20)


@pytest.mark.services
def test_a_broker_that_dies_with_all_its_messages_loses_no_work(tmp_path: Path, processes: Processes) -> None:
    port = free_port()
    world = new_world(tmp_path, "", f"redis://127.0.0.1:{port}/0", "sightline", delay=0.1)
    names = world.draw(24)
    with redis_on(port, tmp_path):
        first = world.index()
        assert world.send.depth() == 6
        processes.append(world.start("worker"))
        until("a batch to be under way", lambda: any_leased(world, first.id))
    names += world.draw(8, first=24)
    second = world.index()  # nobody listens, and nothing is lost
    with redis_on(port, tmp_path):
        assert world.send.depth() == 0
        with tended(world):
            until("the first job", lambda: world.catalog.job_progress(first.id).state == "done")
            assert_done_once(world, second.id, names)
        assert kill(processes[0], signal.SIGTERM) == 0, world.logs()
    world.close()
