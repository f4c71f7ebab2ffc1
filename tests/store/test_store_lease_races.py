"""Many workers at once, in threads and in processes: no task is done twice, and none is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from sightline.store.catalog import Catalog, open_catalog
from sightline.store.records import NewSegment
from tests.store.catalog_world import World, create_pictures, emptied, item, opened, sha_of, sizes_of

ROOT = Path(__file__).parents[2]
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def together(*calls: Callable[[], Result]) -> list[Result]:
    """All calls at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(calls), timeout=60)

    def run(call: Callable[[], Result]) -> Result:
        barrier.wait(timeout=60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(timeout=120) for future in [pool.submit(run, call) for call in calls]]


def test_each_task_is_leased_by_exactly_one_of_many_workers(world: World) -> None:
    _, tasks = world.job(*(item(f"{number}") for number in range(25)), batch_size=1)

    def worker(name: str) -> list[int]:
        order = random.Random(name).sample(tasks, len(tasks))
        return [task for task in order if world.catalog.acquire(task, name, 60) is not None]

    taken = together(*(partial(worker, f"worker {number}") for number in range(6)))
    assert sorted(task for tasks_of_one in taken for task in tasks_of_one) == tasks
    assert {world.catalog.task(task).attempt for task in tasks} == {1}


def test_an_expired_lease_passes_to_exactly_one_worker(world: World) -> None:
    _, [task] = world.job(item("a"))
    world.lease(task, "dead", seconds=1)
    world.time += 2
    calls = (partial(world.catalog.acquire, task, f"worker {n}", 60) for n in range(6))
    leases = [lease for lease in together(*calls) if lease is not None]
    assert len(leases) == 1
    assert leases[0].attempt == 2


def test_of_late_and_current_publishers_only_the_current_one_succeeds(world: World) -> None:
    for number in range(5):
        _, [task] = world.job(item(f"image {number}"))
        late = world.lease(task, "late", seconds=1)
        world.time += 2
        current = world.lease(task, "current", seconds=60)
        assert together(partial(world.publish, late), partial(world.publish, current)) == [False, True]
    assert len(world.live()) == 5
    assert len(world.catalog.segment_files()) == 5


def test_the_end_of_a_job_is_seen_when_its_last_tasks_and_its_seal_meet(world: World) -> None:
    for number in range(6):
        job, tasks = world.job(item(f"a{number}"), item(f"b{number}"), batch_size=1, seal=False)
        leases = [world.lease(task) for task in tasks]
        calls: list[Callable[[], object]] = [partial(world.publish, lease) for lease in leases]
        together(*calls, partial(world.catalog.seal_job, job.id))
        assert world.catalog.job(job.id).state == "done"


def test_two_jobs_that_register_the_same_ids_at_once_leave_one_pending_version_each(world: World) -> None:
    names = [f"{number}" for number in range(20)]
    jobs = [world.catalog.create_job(world.collection.id, "index", {}) for _ in range(3)]

    def register(job_id: str) -> None:
        for start in range(0, len(names), 5):
            items = [item(name, f"{name} of {job_id}") for name in names[start : start + 5]]
            world.catalog.register(job_id, items, batch_size=2)
        world.catalog.seal_job(job_id)

    together(*(partial(register, job.id) for job in jobs))
    pending = world.catalog.images("pictures", state="pending", limit=100).items
    assert sorted(image.image_id for image in pending) == sorted(names)
    for task in world.catalog.unsent_tasks(0, 1000):
        world.publish(world.lease(task))
    assert {image.sha256 for image in pending} == {
        image.sha256 for image in world.catalog.images("pictures", limit=100).items
    }
    assert {world.catalog.job(job.id).state for job in jobs} == {"done"}


def test_everything_at_once_leaves_a_catalog_in_order(world: World) -> None:
    """Two indexers over the same ids, three workers, one who deletes, one who sweeps."""
    names = [f"{number}" for number in range(12)]
    stop = threading.Event()

    def index(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(5):
            chosen = draw.sample(names, 5)
            world.job(*(item(name, draw.choice("abc") + name) for name in chosen), batch_size=2)

    def work(name: str) -> None:
        while not (stop.is_set() and not world.catalog.unsent_tasks(0, 10)):
            for task in world.catalog.unsent_tasks(0, 10):
                if (lease := world.catalog.acquire(task, name, 60)) is not None:
                    world.publish(lease)
            time.sleep(0.005)

    def delete() -> None:
        for name in names[:4]:
            world.catalog.delete_images(world.collection.id, ids=[name])
            world.catalog.expire_leases()

    with ThreadPoolExecutor(6) as pool:
        workers = [pool.submit(work, f"worker {number}") for number in range(3)]
        others = [pool.submit(index, 1), pool.submit(index, 2), pool.submit(delete)]
        try:
            for future in others:
                future.result(timeout=120)
        finally:
            stop.set()
        for future in workers:
            future.result(timeout=120)
    assert world.catalog.images("pictures", state="pending").items == []
    assert {job.state for job in world.catalog.jobs(limit=100)} == {"done"}
    live = Counter(image.image_id for image in world.catalog.images("pictures", limit=100).items)
    assert set(live.values()) == {1}


def test_a_singleton_is_taken_by_one_of_many_builders(world: World) -> None:
    for number in range(5):
        name = f"{world.collection.id} {number}"
        take = partial(world.catalog.acquire_singleton, name)
        assert sum(together(*(partial(take, f"owner {n}", 60) for n in range(5)))) == 1


def work_as_a_process(url: str, name: str) -> None:
    """The body of a worker process. It sleeps beyond every fifth lease, and publishes late all the same."""
    catalog, draw = open_catalog(url), random.Random(name)
    done = late = leased = 0
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and catalog.jobs()[0].state != "done":
        catalog.expire_leases()
        for task in draw.sample(tasks := catalog.unsent_tasks(0, 100), len(tasks)):
            lease = catalog.acquire(task, name, 0.5)
            if lease is None:
                continue
            leased += 1
            if slow := leased % 5 == 2:
                time.sleep(0.6)
            keys = [image.key for image in lease.images]
            file = f"{name}-{task}-{lease.attempt}"
            segment = NewSegment(file, sha_of(file), "fp16", 1, keys)
            published = catalog.publish(lease, segment, sizes=sizes_of(lease))
            done += published
            late += slow and not published
    catalog.close()
    print(done, late)


def run_workers(url: str, names: Sequence[str]) -> list[tuple[int, int]]:
    script = (
        "import sys; from tests.store.test_store_lease_races import work_as_a_process as w; w(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, url]
    workers = [
        subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in names
    ]
    answers = [worker.communicate(timeout=200)[0].split() for worker in workers]
    return [(int(done), int(late)) for done, late in answers]


def test_processes_that_race_and_stall_embed_every_batch_exactly_once(catalog_url: str) -> None:
    catalog: Catalog = open_catalog(catalog_url)
    collection = create_pictures(catalog)
    job = catalog.create_job(collection.id, "index", {})
    items = [item(f"{number}") for number in range(60)]
    tasks = catalog.register(job.id, items, batch_size=3).task_ids
    catalog.seal_job(job.id)
    answers = run_workers(catalog_url, ["left", "right"])
    assert sum(done for done, _ in answers) == len(tasks) == len(catalog.segment_files())
    assert sum(late for _, late in answers) > 0  # somebody did come late, in vain
    assert catalog.collection_counts("pictures")["live"] == 60
    assert catalog.job_progress(job.id).state == "done"
    assert catalog.check() == []
    catalog.close()
