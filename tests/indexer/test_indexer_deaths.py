"""Pictures that break a batch, or kill its worker, or hang it: they fail alone, and the work goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from sightline.indexer.heartbeat import Pulse
from sightline.indexer.queue.watchdog import Watchdog
from tests.indexer.world import (
    COLLECTION,
    CountingToy,
    Knobs,
    Processes,
    World,
    assert_done_once,
    problems,
    stop_all,
    until,
)

BAD = 19


@pytest.fixture
def processes() -> Iterator[Processes]:
    started: Processes = []
    yield started
    stop_all(started)


def made(folder: Path, **knobs: Any) -> World:
    world = World(folder, Knobs(**knobs))
    world.create()
    return world


def test_a_picture_that_breaks_the_model_does_not_cost_its_neighbours(tmp_path: Path) -> None:
    world = made(tmp_path, indexer={"batch_size": 32})
    names = world.draw(32)
    toy = world.models.toy
    bad = toy.preprocess([np.asarray(Pillow.open(world.pictures / names[BAD]).convert("RGB"))])

    class Broken(CountingToy):
        def encode_patches(self, pixels: Any) -> Any:
            if any(bool((row == bad[0]).all()) for row in pixels):
                raise RuntimeError("CUDA error: device-side assert triggered")
            return super().encode_patches(pixels)

    world.models.toy = Broken()
    job = world.index()
    world.indexer.run_pending()
    progress = world.catalog.job_progress(job.id)
    assert (progress.indexed, progress.failed, progress.state) == (31, 1, "done")
    [error] = world.catalog.job_errors(job.id)
    assert (error.id, error.reason) == (names[BAD], "internal")
    assert problems(world, [name for name in names if name != names[BAD]]) == []
    world.close()


def test_a_picture_that_kills_its_worker_fails_alone_and_can_be_retried(
    tmp_path: Path, processes: Processes
) -> None:
    """Real processes die at it: the batch of 32 is halved, and 31 are indexed."""
    short = {"batch_size": 32, "lease_seconds": 0.6, "heartbeat_seconds": 0.2}
    world = made(tmp_path, kills=BAD, indexer=short)
    names = world.draw(32)
    job = world.index()
    died = deaths(world, processes)
    progress = world.catalog.job_progress(job.id)
    assert (progress.indexed, progress.failed, progress.state) == (31, 1, "done"), world.logs()
    [error] = world.catalog.job_errors(job.id)
    assert (error.id, error.reason) == (names[BAD], "worker_died")
    assert error.detail == "5 workers in a row died while they had this picture in hand."
    assert problems(world, [name for name in names if name != names[BAD]]) == []
    # 2 at the whole, 1 at each of 16, 8, 4 and 2, and 4 more at the picture alone, which begins with one.
    assert died == 10

    del world.models.toy.at[BAD]
    world.indexer.retry(job.id)
    world.indexer.run_pending()
    assert_done_once(world, job.id, names)
    world.close()


def test_a_worker_that_hangs_ends_and_its_batch_is_done_by_another(
    tmp_path: Path, processes: Processes
) -> None:
    """Nobody sends a message: the workers find the work themselves."""
    knobs = {"batch_size": 4, "lease_seconds": 2.0, "stall_seconds": 4.0, "look_seconds": 0.2}
    world = made(tmp_path, hangs=2, delay=0.1, indexer=knobs)
    names = world.draw(12)
    job = world.index()
    processes.append(world.begin("worker"))
    assert processes[0].wait(timeout=60) == 70, world.logs()
    said = [json.loads(line) for line in (world.data / "worker-0.log").read_text().splitlines()]
    critical = [line["message"] for line in said if line["level"] == "critical"]
    assert len(critical) == 1
    assert critical[0].startswith("This worker has not got on for ")
    # Its lease runs out, and whoever works next has it.
    until("another to do it", lambda: done_by_now(world, job.id), 30)
    assert_done_once(world, job.id, names)
    world.close()


def done_by_now(world: World, job_id: str) -> bool:
    world.indexer.run_pending()
    return world.catalog.job(job_id).state == "done"


def deaths(world: World, processes: Processes) -> int:
    """One worker after the other until all is done; how many of them died."""
    died = 0
    for _ in range(50):
        processes.append(world.begin("pending"))
        died += processes[-1].wait(timeout=60) != 0
        if not world.catalog.collection_counts(COLLECTION)["pending"]:
            return died
        until("a lease to run out", lambda: world.catalog.takeable_tasks(["embed"], 1), 20)
    raise AssertionError(world.logs())


def test_a_worker_that_is_slow_is_left_alone(tmp_path: Path) -> None:
    """One batch takes several times as long as a worker may hang; it gets on all the while."""
    knobs = {"batch_size": 16, "encode_batch": 1, "lease_seconds": 1.0, "stall_seconds": 1.5}
    world = made(tmp_path, delay=0.3, indexer=knobs)
    names = world.draw(16)
    job = world.index()
    ended: list[int] = []
    with Watchdog(world.indexer.tasks.pulse, 1.5, end=ended.append):
        world.indexer.run_pending()
    assert_done_once(world, job.id, names)
    assert (ended, world.catalog.task(1).attempt) == ([], 1)
    world.close()


def test_silence_ends_a_worker_unless_it_waits_for_its_model() -> None:
    pulse, ended = Pulse(), []
    batch = Pulse(of=pulse)
    with Watchdog(pulse, 0.2, end=ended.append):
        with batch.patience():
            time.sleep(0.6)
            assert (ended, pulse.silent_seconds) == ([], 0.0)
        for _ in range(8):
            time.sleep(0.05)
            batch.beat()
        assert ended == []
        until("it to end", lambda: ended == [70], 10)
