"""A database that hangs, or dies and comes back, under a worker and the builder: they go on by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.indexer.world import COLLECTION, Knobs, World
from tests.services import own_postgres
from tests.stopped import OwnPostgres

BOUND = 60

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path_factory.mktemp("stopped")) as (url, folder):
        yield OwnPostgres(f"{url}/postgres", folder)


def test_workers_and_builder_go_on_when_the_database_does(tmp_path: Path, server: OwnPostgres) -> None:
    world = World(tmp_path, Knobs(catalog=server.url, indexer={"batch_size": 2}))
    world.create()
    names = world.draw(6)
    job = world.index()
    with ThreadPoolExecutor(1) as pool:
        assert world.indexer.run_pending(most=1) == 1
        with server.stopped():
            rest = pool.submit(world.indexer.run_pending, most=1)
            assert not rest.done()
        assert rest.result(BOUND) == 1
    server.restart()  # every connection of the pool is dead now
    assert world.indexer.run_pending() == 1
    assert world.catalog.job_progress(job.id).state == "done"
    server.restart()
    report = world.builder(fold_min_images=1, fold_idle_seconds=0.0).step()
    assert report is not None
    assert report.folded == 1
    generation = world.catalog.snapshot(COLLECTION).generation
    assert generation is not None
    assert generation.images == len(names) == len(world.live())
    world.close()
