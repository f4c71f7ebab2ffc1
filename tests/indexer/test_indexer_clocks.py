"""Hosts whose clocks are wrong: leases, ages and intervals are told by the database, or by nobody's clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.indexer.tasks import Outcome
from sightline.store.catalog import Catalog
from tests.indexer.world import COLLECTION, Knobs, Processes, World, kill, problems, stop_all, until

HOURS = 3600.0


@pytest.fixture
def processes() -> Iterator[Processes]:
    started: Processes = []
    yield started
    stop_all(started)


@pytest.mark.parametrize("ahead", [2 * HOURS, pytest.param(-2 * HOURS, marks=pytest.mark.long)])
def test_a_builder_whose_host_is_hours_off_takes_nothing_from_anybody(
    tmp_path: Path, postgres_url: str, processes: Processes, ahead: float
) -> None:
    builder = {"interval_seconds": 0.05, "fold_idle_seconds": 0.5, "clean_seconds": 0.1}
    world = World(
        tmp_path, Knobs(catalog=postgres_url, ahead=ahead, indexer={"batch_size": 4}, builder=builder)
    )
    world.create()
    names = world.draw(4)
    world.index()
    world.indexer.run_pending()
    names += world.draw(4, first=4)
    world.index()
    [task] = world.catalog.unsent_tasks(0, 10)
    lease = world.catalog.acquire(task, "a worker", 60)
    assert lease is not None
    world.catalog.release(lease)
    lists = world.catalog.create_job(world.catalog.collection(COLLECTION).id, "index", {})
    half_written = world.segments.folder / "being-published.safetensors"

    def work() -> None:
        """While the model works, the builder does its passes: it folds, so it has swept and cleaned."""
        half_written.write_bytes(b"of a worker that is about to publish")
        processes.append(world.begin("builder"))
        until("the builder to fold", lambda: generation(world.catalog) > 0, 60)
        later = generation(world.catalog)
        assert later > 0

    world.models.toy.before = work
    assert world.indexer.tasks.run(task, "a worker") is Outcome.PUBLISHED, world.logs()
    done = world.catalog.task(task)
    assert (done.state, done.attempt, done.deaths) == ("done", 2, 0)
    assert world.catalog.job(lists.id).state == "registering"
    assert half_written.exists()
    world.catalog.seal_job(lists.id)
    until("the rest to be folded", lambda: not world.catalog.snapshot(COLLECTION).uncovered, 60)
    assert problems(world, names) == []
    assert kill(processes[0], 15) == 0, world.logs()
    world.close()


def generation(catalog: Catalog) -> int:
    found = catalog.snapshot(COLLECTION).generation
    return 0 if found is None else found.number


def test_a_builder_goes_on_when_the_databases_clock_is_put_back_or_forward(tmp_path: Path) -> None:
    """It folds, cleans and sweeps as before: only what passes is measured, and not with that clock."""
    now = [1_700_000_000.0]
    world = World(tmp_path, now=lambda: now[0])
    world.create()
    names = world.draw(2)
    passed = [0.0]
    world.now = lambda: passed[0]
    builder = world.builder(fold_idle_seconds=5.0, clean_seconds=60.0)
    for jump in (-3 * HOURS, 3 * HOURS, -30 * HOURS):
        world.draw(2, first=len(names))
        names += [f"{len(names) + more:05d}.png" for more in range(2)]
        world.index()
        world.indexer.run_pending()
        now[0] += jump
        before = generation(world.catalog)
        report = builder.step()
        assert report is not None
        assert (report.expired, generation(world.catalog)) == (0, before + 1)
        passed[0] += 61.0
    assert problems(world, names) == []
    world.close()
