"""Workers and brokers that come and go: what a worker does is in SQL, messages only make it begin sooner."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.indexer.test_indexer_services import redis_on
from tests.indexer.world import (
    Knobs,
    Processes,
    World,
    any_leased,
    assert_done_once,
    kill,
    stop_all,
    tasks_of,
    until,
)
from tests.services import free_port

NEVER = 3600.0


@pytest.fixture
def processes() -> Iterator[Processes]:
    started: Processes = []
    yield started
    stop_all(started)


def made(folder: Path, look: float, **knobs: Any) -> World:
    """Batches of four; a worker that looks into SQL every ``look`` seconds. No builder: nothing is resent."""
    indexer = {"batch_size": 4, "lease_seconds": 20.0, "look_seconds": look}
    world = World(folder, Knobs(indexer=indexer, **({"delay": 0.3} | knobs)))
    world.create()
    return world


def published(world: World, job_id: str) -> int:
    return sum(task.state == "done" for task in tasks_of(world, job_id))


class Proxy:
    """Stands between a worker and a server; cut off, it looks to both like a server that was stopped."""

    def __init__(self, port: int, to: int) -> None:
        self._to = to
        self._address = ("127.0.0.1", port)
        self._sockets: list[socket.socket] = []
        self.listen()

    def listen(self) -> None:
        self._listener = socket.create_server(self._address)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(1000):
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to), timeout=10)
                far.settimeout(None)
                self._sockets += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pipe, args=ends, daemon=True).start()

    def _pipe(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.mark.services
def test_a_worker_whose_redis_is_gone_does_what_is_registered(tmp_path: Path, processes: Processes) -> None:
    port = free_port()
    world = made(tmp_path, look=0.2, sends=True, broker=f"redis://127.0.0.1:{port}/0")
    names = world.draw(16)
    with redis_on(port, tmp_path):
        job = world.index()
        processes.append(world.begin("worker"))
        until("a batch to be under way", lambda: any_leased(world, job.id))
    assert_done_once(world, job.id, names)
    world.draw(4, first=16)
    assert world.catalog.job(world.index().id).state == "running"  # nobody can be told
    until("that too", lambda: len(world.live()) == 20, 60)
    world.close()


def messages_come_again(world: World, processes: Processes, cut: Any, back: Any) -> None:
    """The worker looks for nothing: whatever it does after the broker was away, a message brought it."""
    world.draw(12)
    first = world.index()
    processes.append(world.begin("worker"))
    until("a batch to be under way", lambda: any_leased(world, first.id))
    cut()
    done = published(world, first.id)
    until("the batch in hand to be done", lambda: published(world, first.id) > done, 60)
    back()
    world.draw(8, first=12)
    done = published(world, first.id)
    second = world.index()
    told = done + len(tasks_of(world, second.id))  # a message each; those of the first job may be lost
    until("as many", lambda: published(world, first.id) + published(world, second.id) >= told, 60)
    assert kill(processes[0], signal.SIGTERM) == 0, world.logs()
    world.close()


@pytest.mark.services
def test_a_worker_listens_again_to_a_redis_that_was_away_while_it_was_busy(
    tmp_path: Path, processes: Processes
) -> None:
    port = free_port()
    world = made(tmp_path, look=NEVER, sends=True, broker=f"redis://127.0.0.1:{port}/0")
    with contextlib.ExitStack() as later, contextlib.ExitStack() as now:
        now.enter_context(redis_on(port, tmp_path))
        messages_come_again(
            world, processes, now.close, lambda: later.enter_context(redis_on(port, tmp_path))
        )


def test_a_worker_listens_again_to_a_rabbitmq_that_was_away_while_it_was_busy(
    tmp_path: Path, processes: Processes, rabbitmq_url: str, queue_name: str
) -> None:
    port = free_port()
    proxy = Proxy(port, 5672)
    broker = f"amqp://guest:guest@127.0.0.1:{port}//"
    world = made(tmp_path, look=NEVER, sends=True, broker=broker, queue=queue_name)
    messages_come_again(world, processes, proxy.cut, proxy.listen)
    proxy.cut()


def test_lost_messages_cost_nothing_and_sigterm_finishes_the_batch_that_was_found_in_sql(
    tmp_path: Path, processes: Processes
) -> None:
    world = made(tmp_path, look=0.2, sends=True)
    names = world.draw(12)
    job = world.index()
    lost = list((tmp_path / "broker").rglob("*.msg"))
    assert len(lost) == 3
    for message in lost:
        message.unlink()
    processes.append(world.begin("worker"))
    until("a batch to be under way", lambda: any_leased(world, job.id))
    assert kill(processes[0], signal.SIGTERM) == 0, world.logs()
    tasks = tasks_of(world, job.id)
    assert sorted(task.state for task in tasks) == ["done", "ready", "ready"]  # and it began no other
    assert sum(task.attempt for task in tasks) == 1
    world.indexer.run_pending()
    assert_done_once(world, job.id, names)
    world.close()


def test_a_second_sigint_drops_the_batch_that_was_found_in_sql_and_gives_it_back(
    tmp_path: Path, processes: Processes
) -> None:
    world = made(tmp_path, look=0.2, delay=5.0)
    world.draw(4)
    job = world.index()
    processes.append(world.begin("worker"))
    until("a batch to be under way", lambda: any_leased(world, job.id))
    processes[0].send_signal(signal.SIGINT)
    until("it to hear", lambda: "Warm shutdown" in world.logs() or processes[0].poll() is not None, 10)
    processes[0].send_signal(signal.SIGINT)
    assert processes[0].wait(timeout=15) != 0, world.logs()
    [task] = tasks_of(world, job.id)
    assert (task.state, task.attempt, task.deaths) == ("ready", 1, 0)
    world.close()
