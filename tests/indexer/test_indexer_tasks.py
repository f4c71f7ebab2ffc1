"""Tasks of several kinds: each is done by the handler of its kind, and by nobody else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.indexer.heartbeat import Heartbeat
from sightline.indexer.tasks import Outcome, TaskRunner
from sightline.store.work_records import Lease
from tests.forked import Forked
from tests.indexer.world import COLLECTION, Knobs, World, until

DEADLY = "00004.png"


class Notes:
    """A handler that notes the image ids of its leases; it fails those that it is told to."""

    def __init__(self, world: World, failing: frozenset[str] = frozenset(), broken: int = 0) -> None:
        self._catalog = world.catalog
        self._failing = failing
        self._broken = broken
        """So many leases end in an unexpected error first."""
        self.seen: list[str] = []

    def work(self, lease: Lease, heartbeat: Heartbeat) -> bool:
        if self._broken:
            self._broken -= 1
            raise ZeroDivisionError
        self.seen += [image.image_id for image in lease.images]
        failures = [(image.key, "blank", "It shows nothing.") for image in lease.images
                    if image.image_id in self._failing]  # fmt: skip
        return self._catalog.finish(lease, failures)

    def give_up(self, lease: Lease, reason: str, detail: str) -> bool:
        return self._catalog.finish(lease, [(image.key, reason, detail) for image in lease.images])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Six live pictures."""
    world = World(tmp_path)
    world.create()
    world.draw(6)
    world.index()
    world.indexer.run_pending()
    yield world
    world.close()


def described(world: World) -> tuple[str, list[int]]:
    """A job of kind ``describe`` over all pictures, two in a task."""
    collection = world.catalog.collection(COLLECTION)
    job = world.catalog.create_job(collection.id, "describe", {})
    keys = [image.key for image in world.live()]
    tasks = world.catalog.add_tasks(job.id, "describe", keys, batch_size=2)
    world.catalog.seal_job(job.id)
    return job.id, tasks


def runner(world: World, notes: Notes) -> TaskRunner:
    return TaskRunner(world.catalog, world.parts.settings, {"describe": notes})


def test_a_worker_leaves_tasks_alone_that_it_has_no_handler_for(world: World) -> None:
    job, tasks = described(world)
    assert not any(world.indexer.tasks.run(task, "embedder") is Outcome.PUBLISHED for task in tasks)
    assert world.indexer.run_pending() == 0
    assert [world.catalog.task(task).attempt for task in tasks] == [0, 0, 0]
    assert world.catalog.job(job).state == "running"


def test_the_handler_of_a_kind_does_its_tasks_once(world: World) -> None:
    job, tasks = described(world)
    notes = Notes(world, failing=frozenset({"00003.png"}))
    assert [runner(world, notes).run(task, "one") for task in tasks] == [Outcome.PUBLISHED] * 3
    assert [runner(world, notes).run(task, "two") for task in tasks] == [Outcome.NOT_OURS] * 3
    assert sorted(notes.seen) == [f"{number:05d}.png" for number in range(6)]
    progress = world.catalog.job_progress(job)
    assert (progress.processed, progress.failed, progress.pending, progress.state) == (5, 1, 0, "done")
    (error,) = world.catalog.job_errors(job)
    assert (error.id, error.reason) == ("00003.png", "blank")


def test_a_handler_that_breaks_gives_its_task_back_then_halves_it_and_at_last_gives_up(
    world: World,
) -> None:
    job, [task, *others] = described(world)
    tried = runner(world, Notes(world, broken=world.parts.settings.max_attempts + 1))
    outcomes = [tried.run(task, "worker") for _ in range(world.parts.settings.max_attempts)]
    assert outcomes == [Outcome.RELEASED] * (len(outcomes) - 1) + [Outcome.SPLIT]
    [half] = set(world.catalog.takeable_tasks(["describe"], 10)) - {task, *others}
    assert tried.run(task, "worker") is Outcome.PUBLISHED  # one more error, and it was alone
    assert tried.run(half, "worker") is Outcome.PUBLISHED
    assert [(error.id, error.reason) for error in world.catalog.job_errors(job)] == [
        ("00000.png", "internal")
    ]
    assert world.catalog.job_progress(job).processed == 1


class Deadly(Notes):
    """Its process dies at the sight of one image."""

    def work(self, lease: Lease, heartbeat: Heartbeat) -> bool:
        if any(image.image_id == DEADLY for image in lease.images):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().work(lease, heartbeat)


def describe_all(data: str) -> int:
    """In a process of its own: one attempt at every task that can be taken."""
    world = World(Path(data))
    for task in world.catalog.takeable_tasks(["describe"], 10):
        runner(world, Deadly(world)).run(task, "worker")
    return 0


def test_an_image_that_kills_whoever_describes_it_fails_alone(tmp_path: Path) -> None:
    """Tasks of other kinds than ``embed`` are halved alike."""
    soon = {"lease_seconds": 0.5, "split_deaths": 1, "max_deaths": 2}
    world = World(tmp_path, Knobs(indexer=soon))
    world.create()
    world.draw(6)
    world.index()
    world.indexer.run_pending()
    job = world.catalog.create_job(world.catalog.collection(COLLECTION).id, "describe", {})
    world.catalog.add_tasks(job.id, "describe", [image.key for image in world.live()], batch_size=6)
    world.catalog.seal_job(job.id)
    died = 0
    for _ in range(30):
        worker = Forked(tmp_path / "describe.log", describe_all, str(tmp_path))
        died += worker.wait(timeout=60) != 0
        if world.catalog.job(job.id).state == "done":
            break
        until("a task to be free", lambda: world.catalog.takeable_tasks(["describe"], 1), 20)
    progress = world.catalog.job_progress(job.id)
    assert (progress.processed, progress.failed, progress.state) == (5, 1, "done")
    assert [(e.id, e.reason) for e in world.catalog.job_errors(job.id)] == [(DEADLY, "worker_died")]
    assert died >= 4  # as six, as three, and twice alone at least
    world.close()
