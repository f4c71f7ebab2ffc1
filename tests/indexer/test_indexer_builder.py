"""The builder: what it folds, merges, rewrites, sends again and removes, and when it leaves things alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.errors import UnavailableError
from sightline.indexer.building.builder import Builder, StepReport
from sightline.indexer.settings import BuilderSettings
from sightline.retriever.retriever import Retriever
from sightline.store.records import Registration
from sightline.store.segments import write_segment
from tests.indexer.world import COLLECTION, Knobs, World, until

NO_FOLD = {"fold_idle_max_images": 0}
NO_MERGE = {"merge_at_least": 10_000}


class Clock:
    """Begins at the real time, because files have real ages; moves only when told to."""

    def __init__(self) -> None:
        import time

        self.time = time.time()

    def __call__(self) -> float:
        return self.time


class Queue:
    """A broker that keeps what it was sent."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[int] = []
        self.waiting: int | None = 0
        self.down = False

    def __call__(self, task_ids: Sequence[int]) -> None:
        if self.down:
            raise UnavailableError("the broker is down.")
        self.sent += task_ids
        self.world.catalog.mark_sent(task_ids)

    def depth(self) -> int | None:
        return self.waiting

    def taken(self) -> list[int]:
        sent, self.sent = self.sent, []
        return sent


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(tmp_path: Path, clock: Clock) -> Iterator[World]:
    world = World(tmp_path, Knobs(), clock)
    world.create()
    yield world
    world.catalog.close()


def step(builder: Builder) -> StepReport:
    report = builder.step()
    assert report is not None
    return report


def register(world: World, names: Sequence[str], sha: str = "") -> list[int]:
    """Task ids of new pictures whose bytes nobody needs."""
    job = world.catalog.create_job(world.catalog.collection(COLLECTION).id, "index", {})
    items = [Registration(name, f"{name}{sha}".ljust(64, "0"), f"/nowhere/{name}", 1) for name in names]
    task_ids = world.catalog.register(job.id, items, batch_size=100).task_ids
    world.catalog.seal_job(job.id)
    return task_ids


def publish(world: World, names: Sequence[str], sha: str = "") -> None:
    """These pictures live in one segment, with tokens drawn by their key."""
    for task_id in register(world, names, sha):
        lease = world.catalog.acquire(task_id, "test", 60)
        assert lease is not None
        keys = np.array([image.key for image in lease.images], np.int64)
        tokens = np.stack([tokens_of(int(key)) for key in keys])
        patches = np.repeat(keys.astype(np.float16), 30).reshape(-1, 5, 6)
        written = write_segment(world.segments.folder, keys, tokens, patches, "fp16")
        assert world.catalog.publish(lease, written, sizes={int(key): (8, 8) for key in keys})


def tokens_of(key: int) -> Any:
    """fp16 ``[4,8]``, unit rows."""
    drawn = np.random.default_rng(key).normal(size=(4, 8))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def names(count: int, first: int = 0) -> list[str]:
    return [f"{number:05d}" for number in range(first, first + count)]


def found(world: World, seed: int = 0) -> list[int]:
    """All keys by falling ITC score, by the retriever."""
    retriever = Retriever(world.catalog, world.segments, world.indexes)
    return [hit.key for hit in retriever.retrieve(COLLECTION, vector(seed), 10_000).candidates]


def vector(seed: int) -> Any:
    drawn = np.random.default_rng(10_000 + seed).normal(size=8)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def expected(world: World, seed: int = 0) -> list[int]:
    """All live keys by falling max-sim, by definition."""
    scores = {}
    for image in world.live():
        scores[image.key] = float((tokens_of(image.key).astype(np.float64) @ vector(seed)).max())
    return sorted(scores, key=lambda key: (-scores[key], key))


def segment_files(world: World) -> list[str]:
    """All that lie in the folder, finished or not."""
    return sorted(path.name for path in world.segments.folder.glob("*.segment.safetensors"))


def delete(world: World, doomed: Sequence[str]) -> None:
    """For good: what is in the trash is not dropped from any file."""
    collection_id = world.catalog.collection(COLLECTION).id
    world.catalog.delete_images(collection_id, doomed)
    world.catalog.empty_trash(collection_id, doomed)


# --- folding -------------------------------------------------------------------------------------------


def test_it_folds_when_more_than_the_minimum_is_outside_and_not_before(world: World) -> None:
    builder = world.builder(fold_min_images=30, **NO_FOLD, **NO_MERGE)
    publish(world, names(30))
    assert step(builder).folded == 0
    publish(world, names(1, first=30))
    assert step(builder).folded == 1
    snapshot = world.catalog.snapshot(COLLECTION)
    assert snapshot.generation is not None
    assert (snapshot.generation.number, snapshot.generation.images, snapshot.uncovered) == (1, 31, [])
    assert found(world) == expected(world)


def test_a_large_collection_waits_for_a_tenth(world: World) -> None:
    builder = world.builder(fold_min_images=5, fold_fraction=0.1, **NO_FOLD, **NO_MERGE)
    publish(world, names(100))
    assert step(builder).folded == 1
    publish(world, names(10, first=100))
    assert step(builder).folded == 0
    publish(world, names(1, first=110))
    assert step(builder).folded == 1


def test_a_small_collection_is_folded_once_nothing_came_for_a_moment(world: World, clock: Clock) -> None:
    builder = world.builder(fold_idle_seconds=5.0)
    publish(world, names(3))
    assert step(builder).folded == 0
    clock.time += 5
    assert step(builder).folded == 1
    assert step(builder).folded == 0


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_generation_that_is_gone_or_damaged_is_built_again(world: World, damage: str) -> None:
    publish(world, names(20))
    assert world.builder().fold(COLLECTION)
    [file] = world.generations.iterdir()
    if damage == "missing":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[-5] ^= 1
        file.write_bytes(data)
    assert step(world.builder(**NO_FOLD)).folded == 1
    assert world.catalog.snapshot(COLLECTION).generation.number == 2  # type: ignore[union-attr]
    assert found(world) == expected(world)


def test_a_generation_that_is_mostly_dead_is_built_again_once(world: World) -> None:
    builder = world.builder(fold_dead_fraction=0.3, rewrite_dead_fraction=1.0, **NO_FOLD, **NO_MERGE)
    publish(world, names(20))
    builder.fold(COLLECTION)
    delete(world, names(6))
    assert step(builder).folded == 0
    delete(world, names(1, first=6))
    assert step(builder).folded == 1
    assert step(builder).folded == 0
    assert found(world) == expected(world)
    assert len(found(world)) == 13


def test_everything_dead_is_no_trouble(world: World) -> None:
    builder = world.builder(**NO_FOLD)
    publish(world, names(20))
    builder.fold(COLLECTION)
    delete(world, names(20))
    for _ in range(3):
        step(builder)
    assert found(world) == []
    assert world.catalog.collection_counts(COLLECTION)["segments"] == 0
    publish(world, names(5))
    step(builder)
    assert found(world) == expected(world)


# --- compaction ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [True, False])
def test_small_segments_are_merged_and_every_answer_stays(world: World, folded: bool) -> None:
    builder = world.builder(merge_at_least=4, **NO_FOLD)
    for batch in range(6):
        publish(world, names(5, first=5 * batch))
    if folded:
        builder.fold(COLLECTION)
    delete(world, names(1))
    before = {seed: found(world, seed) for seed in range(5)}
    assert step(builder).merged == 6
    assert step(builder).merged == 0
    assert world.catalog.collection_counts(COLLECTION)["segments"] == 1
    assert {seed: found(world, seed) for seed in range(5)} == before
    assert before[0] == expected(world)
    live = world.live()
    places = world.catalog.locations([image.key for image in live])
    patches = world.segments.gather([places[image.key] for image in live])[0].patches
    assert [int(key) for key in patches[:, 0, 0]] == [image.key for image in live]
    assert world.catalog.check() == []


def test_covered_and_uncovered_segments_are_not_mixed(world: World) -> None:
    builder = world.builder(merge_at_least=2, **NO_FOLD)
    publish(world, names(3))
    publish(world, names(3, first=3))
    builder.fold(COLLECTION)
    publish(world, names(3, first=6))
    publish(world, names(3, first=9))
    assert step(builder).merged == 4
    assert world.catalog.collection_counts(COLLECTION)["segments"] == 2
    assert found(world) == expected(world)


def test_large_segments_and_more_bytes_than_a_merge_may_read_stay(world: World) -> None:
    publish(world, names(5))
    publish(world, names(5, first=5))
    size = max(path.stat().st_size for path in world.segments.folder.iterdir())
    assert step(world.builder(merge_at_least=2, merge_below_images=5, **NO_FOLD)).merged == 0
    assert step(world.builder(merge_at_least=2, merge_max_bytes=size * 2 - 1, **NO_FOLD)).merged == 0
    assert step(world.builder(merge_at_least=2, merge_max_bytes=size * 2, **NO_FOLD)).merged == 2


@pytest.mark.parametrize("folded", [True, False])
def test_a_segment_that_is_over_30_percent_dead_is_rewritten(world: World, folded: bool) -> None:
    builder = world.builder(**NO_FOLD, **NO_MERGE)
    publish(world, names(10))
    if folded:
        builder.fold(COLLECTION)
    delete(world, names(3))
    assert step(builder).rewritten == 0
    delete(world, names(1, first=3))
    assert step(builder).rewritten == 1
    snapshot = world.catalog.snapshot(COLLECTION)
    assert [segment.count for segment in snapshot.segments] == [6]
    assert found(world) == expected(world)
    assert world.catalog.check() == []


# --- files ---------------------------------------------------------------------------------------------


def test_a_replaced_segment_stays_for_its_time_of_grace(world: World, clock: Clock) -> None:
    builder = world.builder(merge_at_least=2, retired_seconds=600.0, **NO_FOLD)
    publish(world, names(3))
    publish(world, names(3, first=3))
    assert step(builder).merged == 2
    assert len(segment_files(world)) == 3
    clock.time += 500
    assert step(builder).removed == 0
    clock.time += 101
    assert step(builder).removed == 2
    assert len(segment_files(world)) == 1
    assert len(world.catalog.segment_files()) == 1
    assert found(world) == expected(world)


def test_a_replaced_generation_stays_for_its_time_of_grace(world: World, clock: Clock) -> None:
    builder = world.builder(retired_seconds=600.0, **NO_FOLD, **NO_MERGE)
    publish(world, names(3))
    builder.fold(COLLECTION)
    [first] = world.generations.glob("*.generation.safetensors")
    long_ago = clock.time - 100_000
    os.utime(first, (long_ago, long_ago))
    publish(world, names(3, first=3))
    builder.fold(COLLECTION)
    step(builder)
    assert first.exists()
    clock.time += 700
    step(builder)
    assert not first.exists()
    assert found(world) == expected(world)


# --- sending -------------------------------------------------------------------------------------------


def sweeping(world: World, clock: Clock) -> tuple[Builder, Queue]:
    queue = Queue(world)
    builder = Builder(
        world.catalog,
        world.blobs,
        world.segments,
        world.indexes,
        world.formats,
        BuilderSettings(),
        queue,
        clock,
    )
    return builder, queue


def test_what_was_never_sent_is_sent(world: World, clock: Clock) -> None:
    builder, queue = sweeping(world, clock)
    task_ids = register(world, names(250))
    step(builder)
    assert queue.taken() == task_ids
    step(builder)
    assert queue.taken() == []


def test_a_broker_that_is_down_is_tried_again(world: World, clock: Clock) -> None:
    builder, queue = sweeping(world, clock)
    task_ids = register(world, names(1))
    queue.down = True
    assert step(builder).resent == 0
    queue.down = False
    step(builder)
    assert queue.taken() == task_ids


def test_lost_messages_are_sent_again_once_the_queue_is_empty(world: World, clock: Clock) -> None:
    builder, queue = sweeping(world, clock)
    task_ids = register(world, names(250))
    step(builder)
    queue.taken()
    queue.waiting = 1
    clock.time += 1000
    step(builder)
    assert queue.taken() == []  # a long queue, not a lost message
    queue.waiting = None
    step(builder)
    assert queue.taken() == []  # a broker that is away
    queue.waiting = 0
    step(builder)
    assert queue.taken() == task_ids
    step(builder)
    assert queue.taken() == []


def test_an_expired_lease_is_sent_at_once(world: World, clock: Clock) -> None:
    builder, queue = sweeping(world, clock)
    [task_id] = register(world, names(1))
    step(builder)
    queue.taken()
    assert world.catalog.acquire(task_id, "dies", 60) is not None
    clock.time += 59
    step(builder)
    assert queue.taken() == []
    clock.time += 2
    assert step(builder).expired == 1
    assert queue.taken() == [task_id]


def test_a_job_whose_listing_died_ends_after_a_while_as_failed_and_says_why(
    world: World, clock: Clock
) -> None:
    job = world.catalog.create_job(world.catalog.collection(COLLECTION).id, "index", {})
    builder = world.builder(stale_registration_seconds=100.0)
    step(builder)
    clock.time += 99
    step(builder)
    assert world.catalog.job(job.id).state == "registering"
    clock.time += 2
    assert step(builder).sealed == 1
    ended = world.catalog.job(job.id)
    assert (ended.state, str(ended.detail)[:50]) == (
        "failed",
        "The process that listed this job's sources ended b",
    )


# --- one at a time -------------------------------------------------------------------------------------


def test_a_second_builder_waits_until_the_first_is_gone(world: World, clock: Clock) -> None:
    stop = threading.Event()
    running = threading.Thread(target=world.builder(interval_seconds=0.01).run, args=(stop,))
    running.start()
    second = world.builder()
    try:
        until("the first to hold the lease", lambda: second.step() is None)
        assert all(second.step() is None for _ in range(20))
    finally:
        stop.set()
        running.join(timeout=10)
    step(second)


def test_a_dead_builder_is_succeeded_after_its_lease(world: World, clock: Clock) -> None:
    assert world.catalog.acquire_singleton("builder", "killed", 60.0)
    builder = world.builder()
    clock.time += 59
    assert builder.step() is None
    clock.time += 2
    step(builder)


def test_a_fold_that_comes_second_changes_nothing_and_leaves_no_file(world: World) -> None:
    publish(world, names(5))
    first, second = world.builder(), world.builder()
    old = world.catalog.snapshot(COLLECTION)
    assert first.fold(COLLECTION)
    [file] = world.generations.iterdir()
    assert not second._folding.fold(old)
    assert list(world.generations.iterdir()) == [file]


def test_one_broken_collection_does_not_keep_the_others_waiting(world: World, clock: Clock) -> None:
    publish(world, names(3))
    for path in world.segments.folder.iterdir():
        path.write_bytes(b"damaged")
    toy = world.catalog.collection(COLLECTION)
    world.catalog.create_collection(
        "zebras",
        model="toy",
        revision=None,
        fingerprint=toy.fingerprint,
        num_query_tokens=4,
        joint_dim=8,
    )
    job = world.catalog.create_job(world.catalog.collection("zebras").id, "index", {})
    [task_id] = world.catalog.register(job.id, [Registration("z", "f" * 64, "/z", 1)], batch_size=1).task_ids
    lease = world.catalog.acquire(task_id, "test", 60)
    assert lease is not None
    key = lease.images[0].key
    written = write_segment(world.segments.folder, np.array([key]), tokens_of(key)[None], None, "none")
    assert world.catalog.publish(lease, written, sizes={key: (8, 8)})
    clock.time += 10
    assert step(world.builder()).folded == 1
    assert world.catalog.snapshot("zebras").generation is not None
