"""Batches whose workers die: halved until what kills them stands alone, and fails, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sightline.errors import ConflictError
from sightline.store.records import EMBED
from tests.store.catalog_world import World, emptied, item, opened


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def die(world: World, task: int) -> None:
    """A worker takes the task and is never heard of again."""
    world.lease(task, "doomed", seconds=60)
    world.time += 61
    assert world.catalog.expire_leases() == [task]


def test_deaths_in_a_row_are_counted_whoever_notices_them(world: World) -> None:
    _, [task] = world.job(item("a"))
    die(world, task)
    assert world.lease(task, "doomed too", seconds=60).deaths == 1
    world.time += 61
    third = world.lease(task, "healthy", seconds=60)  # nobody swept
    assert (third.deaths, third.errors, third.attempt) == (2, 0, 3)
    world.catalog.release(third)
    assert world.lease(task).deaths == 0


def test_errors_are_counted_apart_from_deaths(world: World) -> None:
    _, [task] = world.job(item("a"))
    world.catalog.release(world.lease(task), error=True)
    die(world, task)
    lease = world.lease(task)
    assert (lease.errors, lease.deaths) == (1, 1)


def test_a_split_batch_is_two_ready_tasks_of_the_same_job(world: World) -> None:
    job, [task] = world.job(*(item(name) for name in "abcde"))
    die(world, task)
    lease = world.lease(task)
    world.time += 5
    half = world.catalog.split(lease)
    assert half is not None
    assert [world.catalog.task(one).state for one in (task, half)] == ["ready", "ready"]
    assert world.catalog.task(half).created_at == world.catalog.task(task).created_at
    assert sorted(world.catalog.unsent_tasks(1e12, 10)) == [task, half]
    assert not world.publish(lease)
    assert not world.catalog.renew(lease, 60)
    first, second = world.lease(task), world.lease(half)
    names = [[image.image_id for image in one.images] for one in (first, second)]
    assert names == [["a", "b"], ["c", "d", "e"]]
    assert world.publish(first)
    assert world.catalog.job(job.id).state == "running"
    assert world.publish(second)
    assert (world.catalog.job(job.id).state, len(world.live())) == ("done", 5)


def test_a_lost_lease_splits_nothing(world: World) -> None:
    _, [task] = world.job(item("a"), item("b"))
    lost = world.lease(task, "slow", seconds=60)
    world.time += 61
    other = world.lease(task, "other", seconds=60)
    assert world.catalog.split(lost) is None
    assert world.publish(other)
    assert world.catalog.split(other) is None


def test_tasks_of_another_kind_are_split_alike(world: World) -> None:
    world.add(*(item(name) for name in "abcd"))
    job = world.catalog.create_job(world.collection.id, "caption", {})
    [task] = world.catalog.add_tasks(job.id, "caption", list(world.live().values()), batch_size=10)
    world.catalog.seal_job(job.id)
    half = world.catalog.split(world.lease(task))
    assert half is not None
    assert world.catalog.task(half).kind == "caption" != EMBED
    assert [len(world.lease(one).images) for one in (task, half)] == [2, 2]


def test_a_job_whose_listing_ended_early_is_done_first_and_has_failed_then(world: World) -> None:
    job, [one, two] = world.job(item("a"), item("b"), batch_size=1, seal=False)
    world.catalog.end_listing(job.id)
    world.catalog.seal_job(job.id)  # too late: it stays as it is
    assert world.catalog.job(job.id).state == "running"
    assert "ended before it was done" in str(world.catalog.job_progress(job.id).detail)
    assert world.publish(world.lease(one))
    world.catalog.note_trouble(job.id, "The disk is full.")
    assert world.publish(world.lease(two))
    ended = world.catalog.job_progress(job.id)
    assert (ended.state, ended.indexed, ended.failed) == ("failed", 2, 0)
    assert "start the same again" in str(ended.detail)
    with pytest.raises(ConflictError):
        world.catalog.retry_job(job.id)
