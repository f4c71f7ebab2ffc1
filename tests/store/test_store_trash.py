"""Two at once at the trash: whoever comes first decides, and nothing is half restored or half given up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from sightline.errors import ConflictError, NotFoundError
from tests.store.catalog_world import World, create_pictures, emptied, item, opened


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def at_once(*works: Callable[[], object]) -> list[object]:
    """What each returned, or the error that it raised: NotFoundError or ConflictError."""
    done: list[object] = [None] * len(works)
    start = threading.Barrier(len(works), timeout=60)

    def run(number: int, work: Callable[[], object]) -> None:
        start.wait(timeout=60)
        try:
            done[number] = work()
        except (NotFoundError, ConflictError) as error:
            done[number] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return done


def test_a_collection_that_is_restored_and_expires_at_once_is_whole_or_gone(world: World) -> None:
    for _ in range(8):
        world.add(item("a"), item("b"))
        world.catalog.delete_collection("pictures")
        restored, expired = at_once(
            lambda: world.catalog.restore_collection("pictures"), lambda: world.catalog.expire_trash(0.0)
        )
        if isinstance(restored, NotFoundError):
            assert (expired, world.catalog.collections()) == (2, [])
            create_pictures(world.catalog)
        else:
            assert (expired, set(world.live())) == (0, {"a", "b"})
            world.lose("a", "b")
        assert world.catalog.trashed_collections() == []
        assert world.catalog.check() == []


def test_of_two_collections_that_come_back_under_one_name_at_once_one_does(world: World) -> None:
    for _ in range(8):
        world.catalog.delete_collection("pictures")
        create_pictures(world.catalog)
        world.catalog.delete_collection("pictures")
        first, second = (one.id for one in world.catalog.trashed_collections())
        done = at_once(
            lambda name=first: world.catalog.restore_collection(name),  # type: ignore[misc]
            lambda name=second: world.catalog.restore_collection(name),  # type: ignore[misc]
        )
        assert sum(isinstance(one, ConflictError) for one in done) == 1, done
        assert len(world.catalog.trashed_collections()) == 1
        world.catalog.empty_collection("pictures")
    assert [one.name for one in world.catalog.collections()] == ["pictures"]


def test_pictures_that_are_restored_and_emptied_at_once_are_either(world: World) -> None:
    names = [f"{number:02d}" for number in range(12)]
    for turn in range(6):
        world.add(*(item(name, f"{name} {turn}") for name in names))
        world.catalog.delete_images(world.collection.id, names)
        number = world.collection.id
        restored, emptied_ids = at_once(
            lambda number=number: world.catalog.restore_images(number).restored,  # type: ignore[misc]
            lambda number=number: world.catalog.empty_trash(number),  # type: ignore[misc]
        )
        assert isinstance(restored, list)
        assert isinstance(emptied_ids, list)
        assert sorted(restored + emptied_ids) == names
        assert sorted(world.live()) == sorted(restored)
        assert world.trashed() == {}
        assert world.catalog.check() == []
        world.lose(*names)


def test_a_deleted_picture_is_in_no_answer_and_its_bytes_stay_wanted(world: World) -> None:
    world.add(item("a", caption="red"), item("b"))
    key = world.live()["a"]
    sha256 = world.catalog.image("pictures", "a").sha256
    world.catalog.delete_images(world.collection.id, ["a"])
    assert world.catalog.describe(world.collection.id, [key]) == {}
    with pytest.raises(NotFoundError):
        world.catalog.image("pictures", "a")
    assert world.catalog.is_referenced(sha256)
    assert sha256 not in world.catalog.releasable_blobs(world.time + 1e9, 10_000)
    snapshot = world.catalog.snapshot("pictures")
    assert (snapshot.dead.tolist(), snapshot.trashed.tolist(), snapshot.gone.tolist()) == ([key], [key], [])
    world.catalog.restore_images(world.collection.id, ["a"])
    assert world.live()["a"] == key
    assert world.catalog.image("pictures", "a").caption == "red"
