"""Tasks, leases, publishing and the life of a job, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sightline.errors import ConflictError, NotFoundError
from sightline.store.work_records import Failure, Lease
from tests.store.catalog_world import SOURCE, World, emptied, item, opened, sha_of, sizes_of


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


# one owner at a time


def test_a_task_has_one_owner_until_its_lease_runs_out(world: World) -> None:
    _, [task] = world.job(item("a"))
    first = world.lease(task, "one", seconds=60)
    assert (first.attempt, first.expires_at) == (1, 1060.0)
    world.time = 1059.9
    assert world.catalog.acquire(task, "two", 60) is None
    world.time = 1060.0
    second = world.lease(task, "two", seconds=60)
    assert (second.owner, second.attempt) == ("two", 2)
    assert [image.key for image in second.images] == [image.key for image in first.images]


def test_a_late_publish_is_rejected_and_writes_nothing(world: World) -> None:
    _, [task] = world.job(item("a"))
    first = world.lease(task, "one", seconds=60)
    world.time += 61
    assert not world.publish(first)  # expired, though nobody else took it
    second = world.lease(task, "two", seconds=60)
    before = world.version()
    assert not world.publish(first)
    assert world.live() == {}
    assert world.version() == before
    assert world.catalog.segment_files() == set()
    assert world.publish(second)
    assert world.live().keys() == {"a"}


def test_an_old_lease_of_the_same_owner_is_not_the_new_one(world: World) -> None:
    _, [task] = world.job(item("a"))
    old = world.lease(task, "one", seconds=60)
    world.time += 61
    new = world.lease(task, "one", seconds=60)
    assert not world.publish(old)
    assert not world.catalog.renew(old, 60)
    assert world.publish(new)


def test_renewing_keeps_a_lease_and_an_expired_one_cannot_be_renewed(world: World) -> None:
    _, [task] = world.job(item("a"))
    lease = world.lease(task, seconds=60)
    world.time += 50
    assert world.catalog.renew(lease, 60)
    world.time += 59
    assert world.catalog.acquire(task, "two", 60) is None
    world.time += 1
    assert not world.catalog.renew(lease, 60)
    assert not world.publish(lease)


def test_a_released_task_is_ready_at_once_and_sent_again(world: World) -> None:
    _, [task] = world.job(item("a"))
    world.catalog.mark_sent([task])
    lease = world.lease(task)
    world.catalog.release(lease)
    assert world.catalog.unsent_tasks(60, 10) == [task]
    assert not world.publish(lease)
    assert world.publish(world.lease(task, "two"))


def test_the_sweeper_makes_expired_leases_ready_and_no_others(world: World) -> None:
    _, tasks = world.job(*(item(name) for name in "abc"), batch_size=1)
    world.catalog.mark_sent(tasks)
    world.lease(tasks[0], seconds=10)
    world.lease(tasks[1], seconds=100)
    world.time += 10
    assert world.catalog.expire_leases() == [tasks[0]]
    assert world.catalog.expire_leases() == []
    assert [world.catalog.task(task).state for task in tasks] == ["ready", "leased", "ready"]
    assert world.catalog.unsent_tasks(60, 10) == [tasks[0]]


def test_unsent_are_ready_tasks_never_sent_or_sent_long_ago(world: World) -> None:
    _, tasks = world.job(*(item(name) for name in "abcd"), batch_size=1)
    world.catalog.mark_sent(tasks[:2])
    world.lease(tasks[3])
    assert world.catalog.unsent_tasks(60, 10) == [tasks[2]]
    world.time += 60
    assert world.catalog.unsent_tasks(60, 10) == tasks[:3]
    assert world.catalog.unsent_tasks(60, 2) == tasks[:2]
    world.catalog.mark_sent(tasks)
    assert world.catalog.unsent_tasks(0, 10) == tasks[:3]


def test_an_unknown_task_cannot_be_leased(world: World) -> None:
    assert world.catalog.acquire(12345, "one", 60) is None
    with pytest.raises(NotFoundError):
        world.catalog.task(12345)


# publishing


def test_publishing_the_same_segment_again_is_told_that_it_is_there(world: World) -> None:
    _, [task] = world.job(item("a"))
    lease = world.lease(task)
    segment = world.segment([image.key for image in lease.images])
    assert world.catalog.publish(lease, segment, sizes=sizes_of(lease))
    before = world.version()
    assert world.catalog.publish(lease, segment, sizes=sizes_of(lease))  # the answer was lost on the way
    assert world.version() == before
    assert not world.publish(lease)  # another file is not


def test_a_batch_of_failures_only_has_no_segment(world: World) -> None:
    job, [task] = world.job(item("a"), item("b"))
    assert world.publish(world.lease(task), failed=["a", "b"])
    assert world.catalog.segment_files() == set()
    progress = world.catalog.job_progress(job.id)
    assert (progress.failed, progress.indexed, progress.state) == (2, 0, "done")
    errors = world.catalog.job_errors(job.id, 1)
    assert [(error.id, error.reason, error.detail) for error in errors] == [
        ("a", "truncated", "a ends early")
    ]


def answers(world: World, lease: Lease) -> dict[str, tuple[list[int], list[int]]]:
    """Name → (keys in the segment, failed keys), each wrong in its own way."""
    first, second = (image.key for image in lease.images)
    return {
        "missing": ([first], []),
        "twice": ([first, second], [second]),
        "stranger": ([first, second, 999], []),
        "strange failure": ([first, second], [999]),
    }


@pytest.mark.parametrize("mistake", ["missing", "twice", "stranger", "strange failure"])
def test_a_worker_must_answer_for_each_image_once(world: World, mistake: str) -> None:
    _, [task] = world.job(item("a"), item("b"))
    lease = world.lease(task)
    stored, failed = answers(world, lease)[mistake]
    with pytest.raises(ValueError):
        world.catalog.publish(
            lease, world.segment(stored), [(key, "x", "y") for key in failed], sizes_of(lease)
        )
    assert world.live() == {}
    assert world.publish(lease)


# replacing


def test_the_old_version_serves_until_the_new_one_is_published(world: World) -> None:
    world.add(item("a", "old"), item("b"))
    old = world.live()
    job, [task] = world.job(item("a", "new"))
    lease = world.lease(task)
    assert world.live() == old
    assert lease.images[0].replaces_key == old["a"]
    assert world.publish(lease)
    new = world.live()
    assert new["a"] == lease.images[0].key != old["a"]
    assert world.dead() == {old["a"]}
    progress = world.catalog.job_progress(job.id)
    assert (progress.replaced, progress.indexed, progress.total) == (1, 0, 1)


def test_a_failed_replacement_leaves_the_old_version_serving(world: World) -> None:
    world.add(item("a", "old"))
    _, [task] = world.job(item("a", "new"))
    assert world.publish(world.lease(task), failed=["a"])
    assert world.catalog.image("pictures", "a").sha256 == sha_of("old")


def test_newer_bytes_for_a_pending_image_win_whichever_is_published_last(world: World) -> None:
    for order in (0, 1):
        first_job, [first] = world.job(item(f"x{order}", "one"), item(f"other{order}"))
        one = world.lease(first)
        second_job, [second] = world.job(item(f"x{order}", "two"))
        two = world.lease(second)
        for lease in (one, two) if order == 0 else (two, one):
            assert world.publish(lease)
        assert world.catalog.image("pictures", f"x{order}").sha256 == sha_of("two")
        assert one.images[0].key in world.dead()
        assert world.catalog.job_progress(first_job.id).indexed == 1
        assert world.catalog.job_progress(second_job.id).indexed == 1


def test_the_live_bytes_seen_again_discard_an_older_pending_change(world: World) -> None:
    world.add(item("a", "original"))
    _, [task] = world.job(item("a", "changed"))
    job, _ = world.job(item("a", "original"))
    assert world.publish(world.lease(task))
    assert world.catalog.image("pictures", "a").sha256 == sha_of("original")
    assert world.catalog.job_progress(job.id).unchanged == 1


def test_a_task_whose_images_were_all_superseded_ends_without_work(world: World) -> None:
    job, [task] = world.job(item("a", "one"))
    world.job(item("a", "two"))
    lease = world.lease(task)
    assert lease.images == []
    assert world.catalog.publish(lease, None)
    assert world.catalog.job(job.id).state == "done"


# registering


def test_the_same_bytes_again_are_no_work(world: World) -> None:
    world.add(item("a", year=1), item("b"))
    job = world.catalog.create_job(world.collection.id, "index", {})
    registered = world.catalog.register(job.id, [item("a"), item("b"), item("c")], batch_size=10)
    assert registered.outcomes == [("a", "unchanged"), ("b", "unchanged"), ("c", "pending")]
    assert (registered.unchanged, len(registered.task_ids)) == (2, 1)
    assert world.catalog.image("pictures", "a").metadata == {"year": 1}  # not given: kept
    world.catalog.cancel_job(job.id)


def test_tasks_hold_at_most_a_batch_each(world: World) -> None:
    _, tasks = world.job(*(item(f"{n:04}") for n in range(1001)), batch_size=256)
    sizes = [len(world.lease(task).images) for task in tasks]
    assert sizes == [256, 256, 256, 233]


def test_of_one_id_twice_in_a_batch_the_last_counts(world: World) -> None:
    job, [task] = world.job(item("a", "one"), item("b"), item("a", "two"))
    assert world.publish(world.lease(task))
    assert world.catalog.image("pictures", "a").sha256 == sha_of("two")
    assert world.catalog.job_progress(job.id).total == 2


def test_an_unchanged_image_is_counted_once_for_a_job(world: World) -> None:
    world.add(item("a"))
    job = world.catalog.create_job(world.collection.id, "index", {})
    for _ in range(3):
        world.catalog.register(job.id, [item("a"), item("a")], batch_size=10)
    assert world.catalog.job_progress(job.id).unchanged == 1


def test_captions_given_with_unchanged_bytes_are_updated_in_place(world: World) -> None:
    world.add(item("a", caption="old", year=1))
    key = world.live()["a"]
    world.add(item("a", caption="new"))
    world.add(item("a", year=2))
    image = world.catalog.image("pictures", "a")
    assert (image.key, image.caption, image.metadata) == (key, "new", {"year": 2})


def test_a_source_failure_is_listed_and_spares_what_is_live(world: World) -> None:
    world.add(item("a"))
    job, _ = world.job(seal=False)
    world.catalog.record_failures(
        job.id, [Failure("a", "/x/\udcff", "unreadable", "no such\x00file \udcff", SOURCE)]
    )
    world.catalog.record_failures(job.id, [Failure("bad name \udcff", "/x", "unreadable", "again")])
    assert world.prune(job) == 0
    world.catalog.seal_job(job.id)
    errors = [(error.id, error.detail) for error in world.catalog.job_errors(job.id, 10)]
    assert errors == [("a", "no such\\x00file \\udcff"), ("bad name \\udcff", "again")]
    assert world.catalog.job_progress(job.id).failed == 2
    assert world.live().keys() == {"a"}
    assert world.catalog.retry_job(job.id) == []


def test_what_failed_before_is_forgiven_when_it_is_registered_anew(world: World) -> None:
    job, [task] = world.job(item("a"))
    world.publish(world.lease(task), failed=["a"])
    world.add(item("a", "repaired"))
    assert world.catalog.job_progress(job.id).failed == 0
    assert world.catalog.collection_counts("pictures")["failed"] == 0


# pruning


def test_prune_buries_what_the_source_no_longer_has(world: World) -> None:
    world.add(*(item(name) for name in ("same", "changed", "gone", "gone too")))
    job, tasks = world.job(item("same"), item("changed", "new"), item("new"), seal=False)
    before = world.version()
    assert world.prune(job) == 2
    assert world.version() > before
    world.catalog.seal_job(job.id)
    assert world.live().keys() == {"same", "changed"}
    for task in tasks:
        world.publish(world.lease(task))
    assert world.live().keys() == {"same", "changed", "new"}
    assert world.catalog.job_progress(job.id).deleted == 2


def test_two_jobs_that_prune_at_once_do_not_confuse_what_each_has_seen(world: World) -> None:
    world.add(item("a"), item("b"), item("c"))
    one, _ = world.job(item("a"), item("b"), seal=False)
    two, _ = world.job(item("a"), item("b"), item("c"), seal=False)
    assert world.prune(two) == 0
    assert world.prune(one) == 1
    assert world.live().keys() == {"a", "b"}


def test_prune_spares_an_image_that_another_job_replaced_meanwhile(world: World) -> None:
    world.add(item("a", "one"))
    job, _ = world.job(item("a", "one"), seal=False)
    world.add(item("a", "two"))
    assert world.prune(job) == 0
    assert world.live().keys() == {"a"}


def test_pruning_a_sealed_job_is_refused(world: World) -> None:
    world.add(item("a"))
    job, _ = world.job(item("a"))
    with pytest.raises(ConflictError):
        world.prune(job)
    assert world.live().keys() == {"a"}


# the end of a job


def test_a_job_is_done_when_it_is_sealed_and_no_task_is_open(world: World) -> None:
    job, tasks = world.job(item("a"), item("b"), batch_size=1, seal=False)
    states = [job.state]
    for step in (
        lambda: world.publish(world.lease(tasks[0])),
        lambda: world.catalog.seal_job(job.id),
        lambda: world.publish(world.lease(tasks[1])),
    ):
        step()
        states.append(world.catalog.job(job.id).state)
    assert states == ["registering", "registering", "running", "done"]


def test_a_job_without_work_is_done_when_it_is_sealed(world: World) -> None:
    world.add(item("a"))
    job, tasks = world.job(item("a"))
    assert tasks == []
    assert world.catalog.job(job.id).state == "done"


def test_cancelling_stops_ready_and_leased_tasks(world: World) -> None:
    world.add(item("a", "old"))
    job, tasks = world.job(item("a", "new"), item("b"), item("c"), batch_size=1)
    assert world.publish(world.lease(tasks[2]))
    lease = world.lease(tasks[0])
    world.catalog.cancel_job(job.id)
    assert not world.catalog.renew(lease, 60)
    assert not world.publish(lease)
    assert world.catalog.acquire(tasks[1], "one", 60) is None
    world.time += 1000
    assert world.catalog.expire_leases() == []
    assert world.live().keys() == {"a", "c"}
    progress = world.catalog.job_progress(job.id)
    assert (progress.state, progress.indexed, progress.pending) == ("cancelled", 1, 0)
    with pytest.raises(ConflictError, match="was cancelled"):
        world.catalog.retry_job(job.id)


def test_a_done_job_cannot_be_cancelled_any_more(world: World) -> None:
    job = world.add(item("a"))
    world.catalog.cancel_job(job.id)
    assert world.catalog.job(job.id).state == "done"
    assert world.live().keys() == {"a"}


def test_a_job_whose_source_broke_ends_as_failed(world: World) -> None:
    job, [task] = world.job(item("a"), seal=False)
    world.catalog.fail_job(job.id)
    assert world.catalog.job(job.id).state == "failed"
    assert world.catalog.acquire(task, "one", 60) is None


def test_a_job_that_failed_says_why(world: World) -> None:
    job, _ = world.job(item("a"), seal=False)
    world.catalog.fail_job(job.id, "The folder\x00is gone.")
    assert world.catalog.job(job.id).detail == "The folder\\x00is gone."
    world.catalog.note_trouble(job.id, "The disk is full.")  # it has ended: nobody works on it
    assert world.catalog.job_progress(job.id).detail == "The folder\\x00is gone."


def test_whoever_waits_for_a_job_is_told_what_its_workers_run_into_until_they_get_on(world: World) -> None:
    job, tasks = world.job(item("a"), item("b"), batch_size=1)
    world.catalog.note_trouble(job.id, "The disk is full.")
    assert world.catalog.job_progress(job.id).detail == "The disk is full."
    assert world.publish(world.lease(tasks[0]))
    assert world.catalog.job_progress(job.id).detail is None
    world.catalog.note_trouble(job.id, "The disk is full again.")
    assert world.publish(world.lease(tasks[1]))
    assert (world.catalog.job(job.id).state, world.catalog.job(job.id).detail) == ("done", None)
    world.catalog.note_trouble("no such job", "Nobody is told.")


def test_retrying_a_job_gives_its_failed_images_another_chance(world: World) -> None:
    world.add(item("b", "old b"))
    job, [task] = world.job(item("a"), item("b", "new b"), item("c"))
    world.publish(world.lease(task), failed=["a", "b"])
    assert world.catalog.job(job.id).state == "done"
    tasks = world.catalog.retry_job(job.id, batch_size=1)
    assert (len(tasks), world.catalog.job(job.id).state) == (2, "running")
    leases = [world.lease(task) for task in tasks]
    assert [image.image_id for lease in leases for image in lease.images] == ["a", "b"]
    assert leases[1].images[0].replaces_key == world.live()["b"]
    assert all(world.publish(lease) for lease in leases)
    assert world.live().keys() == {"a", "b", "c"}
    progress = world.catalog.job_progress(job.id)
    assert (progress.indexed, progress.replaced, progress.failed, progress.state) == (2, 1, 0, "done")
    assert world.catalog.retry_job(job.id) == []


# the builder's own lease


def test_a_singleton_has_one_owner_who_can_renew_and_release_it(world: World) -> None:
    take = world.catalog.acquire_singleton
    assert take("builder", "one", 30)
    assert not take("builder", "two", 30)
    assert take("other", "two", 30)
    assert take("builder", "one", 30)
    world.time += 29
    assert world.catalog.renew_singleton("builder", "one", 30)
    assert not world.catalog.renew_singleton("builder", "two", 30)
    world.time += 30
    assert not world.catalog.renew_singleton("builder", "one", 30)
    assert take("builder", "two", 30)
    world.catalog.release_singleton("builder", "one")
    assert not take("builder", "one", 30)
    world.catalog.release_singleton("builder", "two")
    assert take("builder", "one", 30)
