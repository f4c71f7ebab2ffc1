"""Jobs take turns: whose task is leased next, on both databases."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from sightline.store.work_records import Lease
from tests.store.catalog_world import World, create_pictures, emptied, item, opened
from tests.store.test_store_catalog_plans import plans


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def job(world: World, name: str, tasks: int) -> str:
    """A job of so many tasks of one image each."""
    return world.job(*(item(f"{name} {number}") for number in range(tasks)), batch_size=1)[0].id


def next_lease(world: World, *kinds: str) -> Lease:
    lease = world.catalog.acquire_next("worker", 60.0, kinds or ("embed",))
    assert lease is not None
    return lease


def served(world: World, tasks: int, names: dict[str, str]) -> str:
    """The names of the jobs of the next so many leases, each of which is published."""
    order = ""
    for _ in range(tasks):
        lease = next_lease(world)
        order += names[lease.job_id]
        assert world.publish(lease)
    return order


def test_an_upload_is_next_however_many_tasks_of_another_job_wait(world: World) -> None:
    names = {job(world, "million", 40): "m"}
    before = served(world, 10, names)
    in_hand = next_lease(world)
    names[job(world, "upload", 1)] = "u"
    assert (before, names[in_hand.job_id], served(world, 4, names)[:2]) == ("m" * 10, "m", "mu")


def test_jobs_of_the_same_moment_alternate_and_what_one_did_before_is_not_held_against_it(
    world: World,
) -> None:
    names = {job(world, "first", 30): "a"}
    assert served(world, 10, names) == "a" * 10
    names[job(world, "second", 10)] = "b"
    assert served(world, 20, names).strip("a").count("b") == 10
    names[job(world, "third", 3)] = "c"
    assert sorted(served(world, 6, names)) == sorted("cccaaa")


@pytest.mark.parametrize("seed", range(3))
def test_jobs_that_wait_together_are_served_the_same_but_for_two_turns(world: World, seed: int) -> None:
    """For any two jobs and any stretch in which both have tasks waiting, as fair queueing promises."""
    random_ = random.Random(seed)
    waiting: Counter[str] = Counter()
    history: list[tuple[str, frozenset[str]]] = []
    for step in range(60):
        if step < 40 and random_.random() < 0.2:
            count = random_.randrange(1, 12)
            waiting[job(world, f"{seed} {step}", count)] = count
        if not +waiting:
            continue
        both = frozenset(+waiting)
        lease = next_lease(world)
        assert world.publish(lease)
        waiting[lease.job_id] -= 1
        history.append((lease.job_id, both))
    for one in waiting:
        for other in waiting:
            assert apart(history, one, other) <= 2


def apart(history: list[tuple[str, frozenset[str]]], one: str, other: str) -> int:
    """By how much more ``one`` was served, in the worst stretch in which both waited."""
    worst = balance = 0
    for name, both in history:
        step = (name == one) - (name == other)
        balance = max(0, balance + step) if {one, other} <= both else 0
        worst = max(worst, balance)
    return worst


def test_tasks_of_one_job_are_served_in_their_order(world: World) -> None:
    job(world, "only", 12)
    tasks = [next_lease(world).task_id for _ in range(12)]
    assert all(first < second for first, second in pairwise(tasks))
    assert world.catalog.acquire_next("worker", 60.0, ["embed"]) is None


def test_a_task_that_comes_back_does_not_keep_the_others_waiting(world: World) -> None:
    names = {job(world, "big", 6): "b", job(world, "sick", 1): "s"}
    order = ""
    for _ in range(8):
        lease = next_lease(world)
        order += names[lease.job_id]
        if names[lease.job_id] == "s":
            world.catalog.release(lease, error=True)
        else:
            assert world.publish(lease)
    assert order.count("b") >= 4


def test_a_lease_that_ran_out_comes_behind_what_waits(world: World) -> None:
    job(world, "big", 3)
    dead = world.catalog.acquire_next("dead", 1.0, ["embed"])
    assert dead is not None
    world.time += 2
    assert world.catalog.expire_leases() == [dead.task_id]
    assert [next_lease(world).task_id == dead.task_id for _ in range(3)] == [False, False, True]


def test_what_is_in_the_trash_is_passed_over_and_holds_nobody_up(world: World) -> None:
    job(world, "left", 5)
    world.catalog.delete_collection("pictures")
    create_pictures(world.catalog)
    names = {job(world, "first", 10): "a"}
    assert served(world, 5, names) == "aaaaa"
    names[job(world, "second", 5)] = "b"
    assert served(world, 4, names) in ("abab", "baba", "abba")


def test_a_worker_takes_only_what_it_can_do_the_first_kind_first(world: World) -> None:
    world.add(item("live"))
    job(world, "pictures", 2)
    captions = world.catalog.create_job(world.collection.id, "caption", {})
    world.catalog.add_tasks(captions.id, "caption", [world.live()["live"]], 1)
    world.catalog.seal_job(captions.id)
    assert next_lease(world, "caption", "embed").kind == "caption"
    assert next_lease(world, "caption", "embed").kind == "embed"
    assert world.catalog.acquire_next("worker", 60.0, ["caption"]) is None
    assert next_lease(world).kind == "embed"


def test_of_many_workers_at_once_each_task_has_one_and_none_is_left(world: World) -> None:
    jobs = [job(world, f"job {number}", 8) for number in range(3)]
    barrier = threading.Barrier(6, timeout=60)

    def work(name: str) -> list[int]:
        barrier.wait(timeout=60)
        done = []
        while (lease := world.catalog.acquire_next(name, 60.0, ["embed"])) is not None:
            done.append(lease.task_id)
            assert world.publish(lease)
        return done

    with ThreadPoolExecutor(6) as pool:
        taken = [future.result(timeout=120) for future in [pool.submit(work, f"w{n}") for n in range(6)]]
    tasks = sorted(task for tasks_of_one in taken for task in tasks_of_one)
    assert len(tasks) == len(set(tasks)) == 24
    assert [world.catalog.job(one).state for one in jobs] == ["done"] * 3


def test_the_next_task_is_found_by_an_index_however_many_wait(world: World) -> None:
    if world.catalog.database.engine.dialect.name != "sqlite":
        pytest.skip("plans are read on SQLite")
    for number in range(3):
        job(world, f"job {number}", 400)
    found = plans(world.catalog, lambda: next_lease(world))
    assert found
    assert [plan for plan in found if plan.startswith(("SCAN tasks", "SCAN jobs"))] == []
    assert any("ix_tasks_turn" in plan and "state" not in plan for plan in found), found
