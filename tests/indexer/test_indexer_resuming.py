"""Listings whose process is killed: taken up again by whoever may read the sources, or failed, saying so."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.errors import ConflictError
from sightline.indexer.resuming import MOST, Resumption, listing_lease
from sightline.indexer.source_listing import MISTAKE
from sightline.store.records import LISTING
from tests.forked import Forked
from tests.indexer.world import COLLECTION, Knobs, Processes, World, assert_done_once, kill, stop_all, until

COUNT = 150


@pytest.fixture
def processes() -> Iterator[Processes]:
    started: Processes = []
    yield started
    stop_all(started)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Registers one picture after the other: there is time for a kill."""
    world = World(tmp_path, Knobs(indexer={"register_batch": 1, "batch_size": 50, "lease_seconds": 1.0}))
    world.create()
    yield world
    world.close()


def begun(world: World, *, by_a_server: bool) -> str:
    """The id of a job whose sources nobody has listed yet."""
    sources = [str(world.pictures)]
    return world.indexer.begin(sources, COLLECTION, roots=sources if by_a_server else None).id


def killed_while_listing(world: World, job_id: str, processes: Processes) -> int:
    """How many were registered when the process was killed with -9."""
    processes.append(world.begin("register"))
    until("some to be registered", lambda: world.catalog.job_progress(job_id).total >= 5, 60)
    kill(processes[-1])
    registered = world.catalog.job_progress(job_id).total
    assert 5 <= registered < COUNT, "the machine was too fast for this test"
    assert world.catalog.job(job_id).state == "registering"
    return registered


def resumption(world: World, *roots: str) -> Resumption:
    return Resumption(world.catalog, world.indexer.register, roots, seconds=0.5)


def step(resumption: Resumption) -> int:
    """How many listings it took up, to their end."""
    threads = resumption.step()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return len(threads)


def test_a_listing_of_a_server_that_was_killed_is_taken_up_and_counts_nothing_twice(
    world: World, processes: Processes
) -> None:
    names = world.draw(COUNT)
    job = begun(world, by_a_server=True)
    registered = killed_while_listing(world, job, processes)
    world.indexer.run_pending()
    assert world.catalog.job_progress(job).indexed == registered

    server = resumption(world, str(world.pictures), "/srv/more")
    until("the dead one's lease to run out", lambda: step(server) == 1, 20)
    assert world.catalog.job(job).state == "running"
    world.indexer.run_pending()
    assert_done_once(world, job, names)
    progress = world.catalog.job_progress(job)
    assert (progress.indexed, progress.unchanged, progress.total) == (COUNT, 0, COUNT)
    assert (progress.detail, step(server)) == (None, 0)


def test_a_listing_by_the_command_that_was_killed_ends_as_failed_and_says_so(
    world: World, processes: Processes
) -> None:
    world.draw(COUNT)
    job = begun(world, by_a_server=False)
    registered = killed_while_listing(world, job, processes)
    assert step(resumption(world, str(world.pictures))) == 0  # its user may read what a server may not
    builder = world.builder(silent_seconds=0.5)
    builder.step()
    assert world.catalog.job(job).state == "registering"
    time.sleep(0.6)
    builder.step()
    world.indexer.run_pending()
    progress = world.catalog.job_progress(job)
    assert (progress.state, progress.indexed, progress.pending) == ("failed", registered, 0)
    assert "start the same again for the rest" in str(progress.detail)
    again = world.indexer.wait(world.index().id, timeout=60)
    assert (again.state, again.unchanged, again.indexed) == ("done", registered, COUNT - registered)


def test_a_listing_that_goes_on_is_left_alone(world: World) -> None:
    world.draw(3)
    job = begun(world, by_a_server=True)
    server, builder = resumption(world, str(world.pictures)), world.builder(silent_seconds=0.0)
    assert step(server) == 0  # it has just begun: whoever began it is about to list
    with listing_lease(world.catalog, job, seconds=5.0) as heartbeat:
        time.sleep(0.6)
        assert step(server) == 0
        with pytest.raises(ConflictError, match="Another process lists"):
            world.indexer.register(job)
        heartbeat.check()
    builder.step()
    assert world.catalog.job(job).state == "registering"
    until("nobody to have begun", lambda: step(server) == 1, 20)
    world.indexer.run_pending()
    assert world.catalog.job(job).state == "done"


def test_a_server_takes_up_nothing_that_it_may_not_read(world: World) -> None:
    world.draw(3)
    job = begun(world, by_a_server=True)
    time.sleep(0.6)
    assert step(resumption(world, "/elsewhere")) == 0
    assert step(resumption(world, str(world.pictures))) == 1
    assert world.catalog.job(job).state == "running"


def test_whoever_lost_its_listing_registers_nothing_more(world: World) -> None:
    """It slept too long, and another took over: neither seals the job under the other's hands."""
    world.draw(40)
    job = begun(world, by_a_server=True)
    stolen: list[bool] = []

    def steal(task_ids: object) -> None:
        if not stolen:
            world.catalog.release_singleton(f"{LISTING}{job}", owner_of(world, job))
            stolen.append(world.catalog.acquire_singleton(f"{LISTING}{job}", "another", 60))
            time.sleep(0.8)  # a heartbeat learns it

    world.parts.__dict__["send"] = steal
    with pytest.raises(Exception, match="belongs to another process now"):
        world.indexer.register(job)
    assert stolen == [True]
    assert world.catalog.job(job).state == "registering"
    assert world.catalog.job_progress(job).total < 40


def listing_until(data: str, most: int) -> int:
    """A server that stops in order while it lists: its main thread ends, and other things end after it."""
    world = World(Path(data))
    job = Path(data, "job").read_text()
    threading.Thread(target=world.indexer.register, args=(job,), daemon=True).start()
    until("some to be registered", lambda: world.catalog.job_progress(job).total >= most, 60)
    threading.Thread(target=time.sleep, args=(0.5,)).start()
    return 0


def test_a_listing_of_a_server_that_was_stopped_in_order_is_taken_up_as_well(
    world: World, processes: Processes
) -> None:
    names = world.draw(COUNT)
    job = begun(world, by_a_server=True)
    (world.data / "job").write_text(job)
    processes.append(Forked(world.data / "stopped.log", listing_until, str(world.data), 5))
    assert processes[-1].wait(60) == 0
    assert world.catalog.job_progress(job).total < COUNT, "the machine was too fast for this test"
    assert world.catalog.job(job).state == "registering"
    server = resumption(world, str(world.pictures))
    until("the listing to be free", lambda: step(server) == 1, 20)
    world.indexer.run_pending()
    assert_done_once(world, job, names)


def test_what_a_listing_that_died_had_found_is_indexed_though_its_source_is_away(
    world: World, processes: Processes
) -> None:
    world.draw(COUNT)
    job = begun(world, by_a_server=True)
    registered = killed_while_listing(world, job, processes)
    away = world.pictures.rename(world.data / "away")
    until("the dead one's lease to run out", lambda: step(resumption(world, str(world.pictures))) == 1, 20)
    away.rename(world.pictures)
    world.indexer.run_pending()
    progress = world.catalog.job_progress(job)
    assert (progress.state, progress.indexed, progress.pending) == ("failed", registered, 0)


def owner_of(world: World, job: str) -> str:
    with world.catalog.database.engine.connect() as connection:
        query = "SELECT owner FROM singletons WHERE name = ?"
        return str(connection.exec_driver_sql(query, (f"{LISTING}{job}",)).scalar_one())


def test_a_listing_that_ends_its_process_each_time_is_given_up(world: World) -> None:
    world.draw(3)
    job = begun(world, by_a_server=True)
    for _ in range(MOST):
        world.catalog.note_resumed(job)
    time.sleep(0.6)
    assert step(resumption(world, str(world.pictures))) == 1
    assert world.catalog.job(job).state == "failed"
    assert "ended before it was done" in str(world.catalog.job(job).detail)


def test_of_many_listings_that_died_few_are_taken_up_at_once(world: World) -> None:
    world.draw(3)
    jobs = [begun(world, by_a_server=True) for _ in range(10)]
    time.sleep(0.6)
    may_end = threading.Event()

    def register(job_id: str) -> None:
        may_end.wait(60)
        world.indexer.register(job_id)

    server = Resumption(world.catalog, register, [str(world.pictures)], seconds=0.5)
    threads = server.step()
    more = server.step()
    may_end.set()
    for thread in threads:
        thread.join(timeout=60)
    assert (len(threads), more) == (4, [])
    until("the rest to be taken up", lambda: bool(step(server)) or not world.catalog.unsealed_jobs(), 30)
    until("all to be listed", lambda: step(server) == 0 and not world.catalog.unsealed_jobs(), 30)
    assert {world.catalog.job(job).state for job in jobs} <= {"running", "done"}


class FailingBlobs:
    """A store with a mistake in it."""

    def put(self, data: bytes) -> str:
        raise TypeError("a mistake of ours, with a secret in it")


@pytest.mark.parametrize("lister", ["command", "server", "server again"])
def test_a_listing_that_a_mistake_of_ours_ends_has_failed_and_says_so(world: World, lister: str) -> None:
    """And is not taken up again and again, to fail again."""
    world.draw(3)
    sources = [str(world.pictures)]
    roots = None if lister == "command" else sources
    job = world.indexer.begin(sources, COLLECTION, copy=True, roots=roots).id
    world.parts.__dict__["blobs"] = FailingBlobs()
    server = resumption(world, str(world.pictures))
    if lister == "server again":
        time.sleep(0.6)
        assert step(server) == 1
    else:
        with pytest.raises(TypeError):
            world.indexer.register(job)
    ended = world.catalog.job(job)
    assert (ended.state, ended.detail) == ("failed", MISTAKE)
    time.sleep(0.6)
    assert step(server) == 0


def test_what_was_registered_before_a_mistake_of_ours_is_indexed(world: World) -> None:
    names = world.draw(5)
    job = begun(world, by_a_server=True)
    sent: list[object] = []

    def send(task_ids: object) -> None:
        sent.append(task_ids)
        if len(sent) == 3:
            raise KeyError("a mistake of ours, with a secret in it")

    world.parts.__dict__["send"] = send
    with pytest.raises(KeyError):
        world.indexer.register(job)
    world.parts.__dict__["send"] = None
    world.indexer.run_pending()
    progress = world.catalog.job_progress(job)
    assert (progress.state, progress.indexed, progress.pending) == ("failed", 3, 0)
    assert [(one.reason, one.detail) for one in world.catalog.job_errors(job, 10)] == [("internal", MISTAKE)]
    again = world.indexer.wait(world.index().id, timeout=60)
    assert (again.state, again.unchanged + again.indexed) == ("done", len(names))
