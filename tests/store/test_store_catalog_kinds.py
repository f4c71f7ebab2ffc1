"""Tasks of any kind: a job "caption" that stores nothing, with the lease, progress and end of every job."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sightline.errors import ConflictError, InputError
from sightline.store.records import Job
from sightline.store.work_records import ItemError, Lease, Progress
from tests.store.catalog_world import World, emptied, item, opened

NAMES = [f"{number:02}" for number in range(10)]


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        world.add(*map(item, NAMES))
        yield world


def caption(world: World, *names: str, batch_size: int = 4, seal: bool = True) -> tuple[Job, list[int]]:
    """A job over these live images, or over all; its task ids."""
    live = world.live()
    keys = [live[name] for name in names or NAMES]
    job = world.catalog.create_job(world.collection.id, "caption", {"beams": 3})
    tasks = world.catalog.add_tasks(job.id, "caption", keys, batch_size)
    if seal:
        world.catalog.seal_job(job.id)
    return job, tasks


def ids(lease: Lease) -> list[str]:
    return [image.image_id for image in lease.images]


def progress(world: World, job: Job) -> tuple[int, int, int, str]:
    """(processed, failed, pending, state), and nothing is counted as anything else."""
    found: Progress = world.catalog.job_progress(job.id)
    assert (found.indexed, found.unchanged, found.replaced, found.deleted) == (0, 0, 0, 0)
    assert found.total == found.processed + found.failed + found.pending
    return found.processed, found.failed, found.pending, found.state


def test_live_images_come_in_batches_and_are_done_once(world: World) -> None:
    job, tasks = caption(world)
    assert (job.kind, [world.catalog.task(task).kind for task in tasks]) == ("caption", ["caption"] * 3)
    assert set(world.catalog.unsent_tasks(0, 10)) == set(tasks)
    before = world.version()
    seen: list[str] = []
    for task in tasks:
        lease = world.lease(task)
        assert lease.kind == "caption"
        seen += ids(lease)
        assert world.catalog.renew(lease, 60)
        assert world.catalog.finish(lease)
    assert seen == NAMES
    assert progress(world, job) == (10, 0, 0, "done")
    assert world.version() == before  # nothing that a search sees has changed


def test_of_two_workers_each_task_has_one(world: World) -> None:
    job, tasks = caption(world, batch_size=1)

    def work(owner: str) -> list[str]:
        done: list[str] = []
        for task in tasks:
            lease = world.catalog.acquire(task, owner, 60, ["caption"])
            if lease is not None:
                assert world.catalog.finish(lease)
                done += ids(lease)
        return done

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(work, ["one", "two"], timeout=60)
    assert sorted(one + two) == NAMES
    assert progress(world, job) == (10, 0, 0, "done")


def test_a_lease_that_ran_out_is_lost_and_its_task_done_by_another(world: World) -> None:
    job, [task, *_] = caption(world)
    slow = world.lease(task, "slow", 5.0)
    world.time += 6.0
    assert not world.catalog.renew(slow, 60)
    assert world.catalog.expire_leases() == [task]
    quick = world.lease(task, "quick")
    assert ids(quick) == ids(slow)
    assert not world.catalog.finish(slow)
    assert progress(world, job) == (0, 0, 10, "running")
    assert world.catalog.finish(quick)
    assert not world.catalog.finish(slow)
    assert world.catalog.finish(quick)  # its answer was lost: it asks again
    assert progress(world, job) == (4, 0, 6, "running")


def test_a_released_task_is_ready_again_with_all_its_images(world: World) -> None:
    _, [task] = caption(world, "00", "01")
    first = world.lease(task, "one")
    world.catalog.release(first)
    assert not world.catalog.finish(first)
    assert ids(world.lease(task, "two")) == ["00", "01"]


def test_a_cancelled_job_owes_nothing_and_its_leases_are_lost(world: World) -> None:
    job, tasks = caption(world)
    assert world.catalog.finish(world.lease(tasks[0]))
    lease = world.lease(tasks[1])
    world.catalog.cancel_job(job.id)
    assert not world.catalog.renew(lease, 60)
    assert not world.catalog.finish(lease)
    assert world.catalog.acquire(tasks[2], "late", 60, ["caption"]) is None
    assert progress(world, job) == (4, 0, 0, "cancelled")
    assert len(world.live()) == 10
    with pytest.raises(ConflictError, match="cancelled"):
        world.catalog.retry_job(job.id)


def test_failures_are_told_and_can_be_retried(world: World) -> None:
    job, [task] = caption(world, "00", "01", "02")
    lease = world.lease(task)
    bad = {image.image_id: image.key for image in lease.images}
    assert world.catalog.finish(lease, [(bad["01"], "blank", "no word"), (bad["02"], "\0", "\0odd")])
    assert progress(world, job) == (1, 2, 0, "done")
    assert world.catalog.job_errors(job.id) == [
        ItemError("01", "blank", "no word"),
        ItemError("02", "\\x00", "\\x00odd"),
    ]
    assert len(world.catalog.job_errors(job.id, limit=1)) == 1
    world.catalog.delete_images(world.collection.id, ids=["02"])
    [again] = world.catalog.retry_job(job.id, batch_size=5)
    assert world.catalog.task(again).kind == "caption"
    assert progress(world, job) == (1, 1, 1, "running")
    lease = world.lease(again)
    assert ids(lease) == ["01"]
    assert world.catalog.finish(lease)
    assert progress(world, job) == (2, 1, 0, "done")
    assert world.catalog.retry_job(job.id) == []


def test_an_image_that_dies_before_or_while_it_is_leased_is_not_asked_for(world: World) -> None:
    job, [task] = caption(world, "00", "01", "02")
    world.catalog.delete_images(world.collection.id, ids=["00"])
    lease = world.lease(task)
    assert ids(lease) == ["01", "02"]
    world.add(item("01", "other bytes"))
    assert world.catalog.finish(lease, [(lease.images[0].key, "late", "it was replaced meanwhile")])
    assert progress(world, job) == (1, 0, 0, "done")


def test_a_task_whose_images_are_all_dead_ends(world: World) -> None:
    job, [task] = caption(world, "00")
    world.catalog.delete_images(world.collection.id, ids=["00"])
    lease = world.lease(task)
    assert lease.images == []
    assert world.catalog.finish(lease)
    assert progress(world, job) == (0, 0, 0, "done")


def test_a_listing_that_is_repeated_adds_nothing_twice(world: World) -> None:
    job, tasks = caption(world, seal=False)
    keys = list(world.live().values())
    assert world.catalog.add_tasks(job.id, "caption", keys, 4) == []
    assert len(world.catalog.add_tasks(job.id, "filter", keys, 5)) == 2
    assert world.catalog.add_tasks(job.id, "caption", [keys[0], 10**9], 4) == []
    world.catalog.seal_job(job.id)
    with pytest.raises(ConflictError, match="takes no more images"):
        world.catalog.add_tasks(job.id, "caption", keys, 4)
    assert progress(world, job) == (0, 0, 20, "running")
    assert len(tasks) == 3


def test_images_of_another_collection_are_left_out(world: World) -> None:
    keys = list(world.live().values())
    other = world.catalog.create_collection(
        "other", model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
    )
    job = world.catalog.create_job(other.id, "caption", {})
    assert world.catalog.add_tasks(job.id, "caption", keys, 4) == []
    world.catalog.cancel_job(job.id)


def test_a_job_may_embed_and_do_something_else(world: World) -> None:
    job, [embed] = world.job(item("new"), seal=False)
    [task] = world.catalog.add_tasks(job.id, "filter", [world.live()["00"]], 4)
    world.catalog.seal_job(job.id)
    assert world.publish(world.lease(embed))
    assert world.catalog.job(job.id).state == "running"
    assert world.catalog.finish(world.lease(task))
    found = world.catalog.job_progress(job.id)
    assert (found.indexed, found.processed, found.total, found.state) == (1, 1, 2, "done")


def test_each_kind_has_its_own_end(world: World) -> None:
    _, [task] = caption(world, "00")
    lease = world.lease(task)
    with pytest.raises(ValueError, match="finished, not published"):
        world.catalog.publish(lease, None)
    _, [embed] = world.job(item("new"))
    with pytest.raises(ValueError, match="published, not finished"):
        world.catalog.finish(world.lease(embed))


def test_a_worker_that_answers_for_strangers_or_twice_is_told(world: World) -> None:
    _, [task] = caption(world, "00")
    lease = world.lease(task)
    key = lease.images[0].key
    with pytest.raises(ValueError, match="not of this task"):
        world.catalog.finish(lease, [(world.live()["05"], "x", "x")])
    with pytest.raises(ValueError, match="twice"):
        world.catalog.finish(lease, [(key, "x", "x"), (key, "x", "x")])
    assert not world.catalog.finish(replace(lease, attempt=lease.attempt + 1))
    assert world.catalog.finish(lease, [(key, "x", "x")])


@pytest.mark.parametrize("kind", ["", "Caption", "two words", "x" * 40, "é"])
def test_a_kind_is_a_lower_case_word(world: World, kind: str) -> None:
    with pytest.raises(InputError, match="lower-case word"):
        world.catalog.create_job(world.collection.id, kind, {})


def test_a_removed_collection_takes_its_tasks_along(world: World) -> None:
    _, [task, *_] = caption(world)
    lease = world.lease(task)
    world.catalog.delete_collection("pictures")
    world.catalog.empty_collection("pictures")
    assert not world.catalog.finish(lease)
