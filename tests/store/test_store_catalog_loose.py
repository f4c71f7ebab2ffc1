"""Files that no row names: how old they are seen to be, and who wins when one is published after all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from sightline.errors import SightlineError
from sightline.store.durable import FileMissingError
from sightline.store.own_files import SEGMENT_KIND
from tests.store.catalog_world import Builder, World, emptied, item, opened, sizes_of

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world
    for state in ("stray", "swept", "released"):
        for kind in (SEGMENT_KIND, "flat"):
            world.catalog.forget_files(world.catalog.loose_files(kind, state))


def see(world: World, *names: str, state: str = "stray") -> Sequence[str]:
    return world.catalog.observe_files(SEGMENT_KIND, state, names, HOUR)


def ripen(world: World, *names: str) -> None:
    """Seen for an hour, at five looks."""
    for _ in range(4):
        assert see(world, *names) == []
        world.time += HOUR / 4
    assert see(world, *names) == sorted(names)


def test_an_age_is_what_was_observed_and_no_clock_makes_it_older(world: World) -> None:
    ripen(world, "a", "b")
    world.time = 10 * DAY
    assert see(world, "c") == []
    world.time += 5 * DAY
    assert see(world, "c") == [], "one jump is a quarter of the patience at most"
    world.time -= 3 * DAY
    assert see(world, "c") == []
    for looks in range(3):
        world.time += HOUR
        assert see(world, "c") == ["c"] * (looks == 2)


def test_what_was_not_seen_begins_anew(world: World) -> None:
    ripen(world, "a")
    assert see(world) == []
    ripen(world, "a")


def test_only_strays_that_nobody_published_are_set_aside(world: World) -> None:
    _, [task] = world.job(item("a"))
    lease = world.lease(task)
    segment = world.segment([image.key for image in lease.images])
    see(world, segment.file, "other")
    assert world.catalog.publish(lease, segment, sizes=sizes_of(lease))
    assert world.catalog.sweep_files([segment.file, "other", "never seen"]) == ["other"]
    assert world.catalog.loose_files(SEGMENT_KIND, "swept") == {"other"}
    assert world.catalog.loose_files(SEGMENT_KIND, "stray") == set()


def test_what_was_set_aside_is_not_published_by_a_worker_a_merge_or_a_fold(world: World) -> None:
    builder = Builder(world)
    one, two = builder.add("a"), builder.add("b")
    version = world.version()
    _, [task] = world.job(item("c"))
    lease = world.lease(task)
    segment = world.segment([image.key for image in lease.images])
    merged = world.segment(sorted(world.live().values()))
    generation = builder.generation("flat", 1, [one, two])
    files = [segment.file, merged.file, generation.file]
    see(world, *files)
    assert world.catalog.sweep_files(files) == sorted(files)
    attempts: list[Callable[[], bool]] = [
        partial(world.catalog.publish, lease, segment, sizes=sizes_of(lease)),
        partial(world.catalog.replace_segments, world.collection.id, [one, two], merged),
        partial(world.catalog.publish_generation, world.collection.id, 0, generation),
    ]
    for publish in attempts:
        with pytest.raises(FileMissingError, match="set aside before it was published"):
            publish()
    assert world.version() == version, "nothing of it was done"
    assert world.catalog.publish(
        lease, world.segment([image.key for image in lease.images]), sizes=sizes_of(lease)
    )


def test_of_publishing_and_setting_aside_at_once_exactly_one_happens(world: World) -> None:
    for number in range(12):
        _, [task] = world.job(item(f"{number}"))
        lease = world.lease(task)
        segment = world.segment([image.key for image in lease.images])
        see(world, segment.file)
        barrier = threading.Barrier(2, timeout=60)

        def publish(barrier=barrier, lease=lease, segment=segment) -> bool:  # type: ignore[no-untyped-def]
            barrier.wait(timeout=60)
            try:
                return world.catalog.publish(lease, segment, sizes=sizes_of(lease))
            except SightlineError:
                return False

        def sweep(barrier=barrier, segment=segment) -> bool:  # type: ignore[no-untyped-def]
            barrier.wait(timeout=60)
            return world.catalog.sweep_files([segment.file]) == [segment.file]

        with ThreadPoolExecutor(2) as pool:
            outcomes = [future.result(timeout=60) for future in [pool.submit(publish), pool.submit(sweep)]]
        assert sorted(outcomes) == [False, True]


def test_replaced_generations_and_deleted_collections_release_their_files(world: World) -> None:
    builder = Builder(world)
    one = builder.add("a")
    first = builder.generation("flat", 1, [one])
    assert world.catalog.publish_generation(world.collection.id, 0, first)
    world.time += 10.0
    second = builder.generation("flat", 2, [one])
    assert world.catalog.publish_generation(world.collection.id, 1, second)
    assert world.catalog.released_files("flat", 1.0) == []
    world.time += 1.0
    assert world.catalog.released_files("flat", 1.0) == [first.file]
    files = world.catalog.segment_files()
    world.catalog.delete_collection("pictures")
    assert not world.catalog.loose_files(SEGMENT_KIND, "released") & files
    world.catalog.expire_trash(0.0)
    assert world.catalog.loose_files(SEGMENT_KIND, "released") >= files
    assert world.catalog.loose_files("flat", "released") >= {first.file, second.file}


def test_stamps_are_known_until_the_next_ones_are_written_everywhere(world: World) -> None:
    catalog = world.catalog
    catalog.adopt_stamps()
    first = catalog.stamps()
    assert first.known == {first.next}
    again = catalog.stamps()  # the builder died while it wrote them
    assert again == first
    catalog.stamped(first.next)
    second = catalog.stamps()
    assert second.next != first.next
    assert second.known == catalog.known_stamps() == {first.next, second.next}
    catalog.stamped(second.next)
    assert catalog.known_stamps() == {second.next}
