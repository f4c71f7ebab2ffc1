"""Leases and clocks that are set: all processes share the database's, and it may jump either way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import text

from sightline.store.catalog import open_catalog
from tests.store.catalog_world import World, create_pictures, emptied, item, opened

HOURS = 3600.0


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def test_the_clock_is_the_databases_own(catalog_url: str) -> None:
    with closing(open_catalog(catalog_url)) as catalog:
        with catalog.database.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                asked = float(
                    connection.execute(text("SELECT extract(epoch FROM now())::float8")).scalar_one()
                )
            else:
                asked = time.time()
        assert 0.0 <= catalog.now() - asked < 60.0
        before = catalog.now()
        assert before <= create_pictures(catalog).created_at <= catalog.now()


def test_a_lease_given_before_the_clock_was_put_back_has_run_out(world: World) -> None:
    """Expiring, acquiring, looking: a dead worker's task waits for nobody for three hours."""
    _, [one, two] = world.job(item("a"), item("b"), batch_size=1)
    for task in (one, two):
        world.lease(task, "dead", seconds=60)
    world.time -= 3 * HOURS
    assert world.catalog.backlog().leased == 0
    assert sorted(world.catalog.takeable_tasks(["embed"], 10)) == [one, two]
    assert world.publish(world.lease(one, "another", seconds=60))
    assert world.catalog.expire_leases() == [two]
    assert world.publish(world.lease(two, "another", seconds=60))


def test_a_worker_that_lives_keeps_its_lease_though_the_clock_is_put_back(world: World) -> None:
    _, [task] = world.job(item("a"))
    lease = world.lease(task, "alive", seconds=60)
    world.time -= 3 * HOURS
    assert world.catalog.renew(lease, 60)
    assert world.catalog.acquire(task, "another", 60) is None
    assert world.catalog.expire_leases() == []
    assert world.publish(lease)


def test_a_clock_that_is_corrected_by_a_little_takes_no_lease_from_anybody(world: World) -> None:
    _, [task] = world.job(item("a"))
    lease = world.lease(task, "alive", seconds=60)
    world.catalog.acquire_singleton("builder", "alive", 60)
    for back in (0.001, 5.0, 30.0):
        world.time -= back
        assert world.catalog.acquire(task, "another", 60) is None
        assert world.catalog.expire_leases() == []
        assert not world.catalog.acquire_singleton("builder", "another", 60)
    assert world.publish(lease)
    world.catalog.release_singleton("builder", "alive")


def test_a_jump_forward_costs_the_work_and_no_picture(world: World) -> None:
    """The worker that lost its lease lives, and says so: its batch is under no suspicion."""
    job, [task] = world.job(item("a"))
    for _ in range(20):
        lease = world.lease(task, "alive", seconds=60)
        assert lease.deaths == 0
        world.time += 3 * HOURS
        assert world.catalog.expire_leases() == [task]
        assert not world.catalog.renew(lease, 60)
        assert not world.publish(lease)
        world.catalog.survived(lease)
    assert world.publish(world.lease(task, "another"))
    assert world.catalog.job_progress(job.id).failed == 0


def test_a_singleton_given_before_the_clock_was_put_back_is_free(world: World) -> None:
    assert world.catalog.acquire_singleton("builder", "dead", 60)
    world.time -= 3 * HOURS
    assert not world.catalog.singleton_is_held("builder")
    assert world.catalog.acquire_singleton("builder", "another", 60)
    assert world.catalog.singleton_is_held("builder")
    assert not world.catalog.acquire_singleton("builder", "a third", 60)
    world.catalog.release_singleton("builder", "another")


def test_a_singletons_owner_that_lives_keeps_it_though_the_clock_is_put_back(world: World) -> None:
    assert world.catalog.acquire_singleton("builder", "alive", 60)
    world.time -= 3 * HOURS
    assert world.catalog.renew_singleton("builder", "alive", 60)
    assert not world.catalog.acquire_singleton("builder", "another", 60)
    world.catalog.release_singleton("builder", "alive")


def test_messages_sent_before_the_clock_was_put_back_are_sent_again(world: World) -> None:
    _, [task] = world.job(item("a"))
    world.catalog.mark_sent([task])
    assert world.catalog.unsent_tasks(60, 10) == []
    world.time -= 3 * HOURS
    assert world.catalog.unsent_tasks(60, 10) == [task]
    world.catalog.mark_sent([task])
    assert world.catalog.unsent_tasks(60, 10) == []


def test_the_age_of_what_waits_is_told(world: World) -> None:
    assert world.catalog.backlog().pending_seconds == 0.0
    _, [one, two] = world.job(item("a"), item("b"), batch_size=1)
    world.time += 100
    world.lease(one, seconds=60)
    _, [three] = world.job(item("c"))
    world.time += 20
    backlog = world.catalog.backlog()
    assert (backlog.pending_seconds, backlog.ready_seconds, backlog.leased) == (120.0, 120.0, 1)
    assert world.publish(world.lease(two))
    backlog = world.catalog.backlog()
    assert (backlog.pending_seconds, backlog.ready_seconds, backlog.leased) == (120.0, 20.0, 1)
    world.time -= HOURS
    assert world.catalog.backlog().pending_seconds == 0.0
    assert world.publish(world.lease(three))
