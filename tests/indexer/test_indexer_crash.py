"""Real processes, really killed: every picture ends up live exactly once, and searchable.

On SQLite and the filesystem broker; ``test_indexer_services.py`` runs the same on servers.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.indexer.world import (
    COLLECTION,
    SHORT,
    Knobs,
    Processes,
    World,
    any_leased,
    assert_done_once,
    kill,
    problems,
    search_all,
    stop_all,
    tasks_of,
    tended,
    until,
)


@pytest.fixture
def processes() -> Iterator[Processes]:
    started: Processes = []
    yield started
    stop_all(started)


def new_world(folder: Path, delay: float = 0.1, lease: float = 2.0) -> World:
    world = World(folder, Knobs(delay=delay, sends=True, indexer=SHORT | {"lease_seconds": lease}))
    world.create()
    return world


def test_a_worker_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    tmp_path: Path, processes: Processes
) -> None:
    world = new_world(tmp_path)
    names = world.draw(20)
    job = world.index()
    processes.append(world.start("worker"))
    until("a batch to be under way", lambda: any_leased(world, job.id))
    assert kill(processes[0]) == -signal.SIGKILL
    with tended(world, fold_min_images=5):
        processes.append(world.start("worker"))
        assert_done_once(world, job.id, names)
    assert max(task.attempt for task in tasks_of(world, job.id)) > 1
    # A warm stop: the worker goes at once when idle.
    assert kill(processes[1], signal.SIGTERM) == 0
    world.close()


def test_a_worker_stopped_beyond_its_lease_publishes_nothing_when_it_goes_on(
    tmp_path: Path, processes: Processes
) -> None:
    world = new_world(tmp_path, delay=0.3)
    names = world.draw(8)
    job = world.index()
    processes.append(world.start("worker"))
    until("a batch to be under way", lambda: any_leased(world, job.id))
    processes[0].send_signal(signal.SIGSTOP)
    with tended(world):
        processes.append(world.start("worker"))
        assert_done_once(world, job.id, names)
        segments = sorted(path.name for path in world.segments.folder.glob("*.safetensors"))
        processes[0].send_signal(signal.SIGCONT)
        log = tmp_path / "worker-0.log"
        until("the late worker to notice", lambda: '"task lost"' in log.read_text())
        assert_done_once(world, job.id, names)
        assert sorted(path.name for path in world.segments.folder.glob("*.safetensors")) == segments
    world.close()


def test_a_stopped_worker_finishes_the_batch_in_hand_and_exits_with_0(
    tmp_path: Path, processes: Processes
) -> None:
    world = new_world(tmp_path, delay=0.25, lease=60.0)
    names = world.draw(20)
    job = world.index()
    processes.append(world.start("worker"))
    until("a batch to be under way", lambda: any_leased(world, job.id))
    assert kill(processes[0], signal.SIGTERM) == 0, world.logs()
    left = sorted(task.state for task in tasks_of(world, job.id))
    # A busy machine may be a batch late with the signal; none is dropped, and not all are done.
    assert left in [["done"] * done + ["ready"] * (5 - done) for done in (1, 2, 3)]
    world.indexer.run_pending()
    assert_done_once(world, job.id, names)
    assert [task.attempt for task in tasks_of(world, job.id)] == [1] * 5
    world.close()


def test_two_runs_over_the_same_folder_at_once_index_every_picture_once(
    tmp_path: Path, processes: Processes
) -> None:
    world = World(tmp_path, Knobs(delay=0.01, indexer=SHORT | {"register_batch": 5}))
    world.create()
    names = world.draw(30)
    processes += [world.start("index"), world.start("index")]
    assert [process.wait(timeout=60) for process in processes] == [0, 0], world.logs()
    assert problems(world, names) == [], world.logs()
    assert [job.state for job in world.catalog.jobs()] == ["done", "done"]
    world.close()


def fold_and_kill(world: World, processes: Processes, after: float, number: int) -> None:
    """Start a builder that has to fold, and kill it ``after`` seconds from the moment it begins."""
    processes.append(world.start("builder"))
    log = world.data / f"builder-{number}.log"
    until("the fold to begin", lambda: "folding:" in log.read_text())
    time.sleep(after)
    kill(processes[-1])


def builder_kills(tmp_path: Path, processes: Processes, delays: list[float]) -> None:
    knobs = Knobs(indexer={"batch_size": 50}, builder={"fold_idle_seconds": 0.0, "lease_seconds": 0.5})
    world = World(tmp_path, knobs)
    world.create()
    names: list[str] = []
    for number, delay in enumerate(delays):
        names += world.draw(50, first=50 * number)
        world.index()
        world.indexer.run_pending()
        fold_and_kill(world, processes, delay, number)
        generation = world.catalog.snapshot(COLLECTION).generation
        if generation is not None:
            world.indexes.of(generation.kind).verify(generation.file, generation.sha256)
        assert problems(world, names) == []
    at_once = {"orphan_seconds": 0.0, "retired_seconds": 0.0, "aside_seconds": 0.0, "clean_seconds": 0.0}
    last = world.builder(lease_seconds=60.0, **at_once)
    until("the dead builder's lease to end", lambda: last.step() is not None)
    last.step()
    last.step()
    snapshot = world.catalog.snapshot(COLLECTION)
    assert snapshot.uncovered == []
    assert [path.name for path in world.generations.glob("*.safetensors")] == [snapshot.generation.file]  # type: ignore[union-attr]
    assert sorted(search_all(world)) == sorted(image.key for image in world.live())
    world.close()


def test_a_builder_killed_while_it_folds_leaves_the_old_generation_or_the_new_one(
    tmp_path: Path, processes: Processes
) -> None:
    builder_kills(tmp_path, processes, [0.0, 0.005, 0.02])


@pytest.mark.long
def test_a_builder_killed_20_times_while_it_folds(tmp_path: Path, processes: Processes) -> None:
    builder_kills(tmp_path, processes, [0.002 * number for number in range(20)])


@pytest.mark.long
def test_200_batches_and_20_kills_on_sqlite_and_the_filesystem_broker(
    tmp_path: Path, processes: Processes
) -> None:
    world = World(tmp_path, Knobs(delay=0.02, sends=True, indexer=SHORT))
    world.create()
    names = world.draw(800)
    job = world.index()
    random = np.random.default_rng(0)
    with tended(world, fold_min_images=50):
        for _ in range(20):
            processes.append(world.start("worker"))
            log = world.data / f"worker-{len(processes) - 1}.log"
            until("the worker to do something", lambda log=log: '"task published"' in log.read_text())
            time.sleep(float(random.uniform(0, 1.5)))
            kill(processes[-1])
        processes.append(world.start("worker"))
        assert_done_once(world, job.id, names)
    world.close()
