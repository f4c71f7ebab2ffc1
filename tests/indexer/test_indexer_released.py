"""Originals and thumbnails of deleted and replaced pictures go after their time of grace, and no others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.indexer.building.builder import Builder
from sightline.indexer.indexer import Upload
from sightline.indexer.settings import RELEASED_SECONDS as GRACE
from sightline.store.blobs import BlobStore
from tests.indexer.test_indexer_builder import Clock
from tests.indexer.world import COLLECTION, Knobs, World, picture

DAYS = 86_400.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["folder", "memory"])
def world(tmp_path: Path, clock: Clock, request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(tmp_path, Knobs(), clock)
    if request.param == "memory":
        world.blobs = BlobStore(f"memory://{uuid.uuid4().hex}/originals")
    world.create()
    yield world
    assert world.catalog.check() == []
    world.catalog.close()


def stored(world: World) -> tuple[set[str], set[str]]:
    return set(world.blobs), set(world.blobs.thumbnails())


def released(builder: Builder) -> int:
    report = builder.step()
    assert report is not None
    return report.released


def lose(world: World) -> None:
    """The collection, for good."""
    world.catalog.delete_collection(COLLECTION)
    world.catalog.empty_collection(COLLECTION)


def index(world: World, **options: object) -> None:
    job = world.index(**options)
    world.indexer.wait(job.id, timeout=120)


def test_pictures_of_a_deleted_collection_stay_for_their_time_of_grace_and_go(
    world: World, clock: Clock
) -> None:
    world.draw(12)
    index(world, copy=True)
    shas = {image.sha256 for image in world.live()}
    assert (len(shas), stored(world)) == (12, (shas, shas))
    clock.time += 100 * DAYS
    lose(world)
    builder = world.builder(released_seconds=GRACE)
    clock.time += GRACE - 60.0
    assert released(builder) == 0
    assert stored(world) == (shas, shas)
    clock.time += 61.0
    assert released(builder) == 12
    assert stored(world) == (set(), set())
    assert world.catalog.releasable_blobs(clock.time + DAYS, 100) == []


def test_the_bytes_of_a_replaced_picture_go_and_the_new_ones_stay(world: World, clock: Clock) -> None:
    [name] = world.draw(1)
    index(world, copy=True)
    [old] = world.live()
    (world.pictures / name).write_bytes(picture(7))
    index(world, copy=True)
    [new] = world.live()
    assert new.sha256 != old.sha256
    clock.time += GRACE + 1.0
    assert released(world.builder(released_seconds=GRACE)) == 1
    assert stored(world) == ({new.sha256}, {new.sha256})


def test_bytes_that_another_collection_holds_stay_until_it_lets_go_too(world: World, clock: Clock) -> None:
    world.draw(3)
    index(world, copy=True)
    shas = {image.sha256 for image in world.live()}
    first = world.catalog.collection(COLLECTION)
    other = world.catalog.create_collection(
        "other",
        model=first.model,
        revision=first.revision,
        fingerprint=first.fingerprint,
        num_query_tokens=first.num_query_tokens,
        joint_dim=first.joint_dim,
    )
    job, _ = world.indexer.add("other", [Upload(picture(0)), Upload(picture(1))])
    world.indexer.wait(job.id, timeout=120)
    kept = {image.sha256 for image in world.catalog.images("other").items}
    assert kept < shas
    assert {image.source for image in world.catalog.images("other").items} == {"upload:"}
    lose(world)
    builder = world.builder(released_seconds=GRACE)
    clock.time += GRACE + 1.0
    assert released(builder) == 1
    assert stored(world) == (kept, kept)
    world.catalog.delete_images(other.id, ids=sorted(kept))
    world.catalog.empty_trash(other.id)
    clock.time += GRACE + 1.0
    assert released(builder) == 2
    assert stored(world) == (set(), set())


def test_a_picture_that_comes_back_within_the_time_of_grace_keeps_its_bytes(
    world: World, clock: Clock
) -> None:
    world.draw(2)
    index(world, copy=True)
    first, second = world.live()
    world.catalog.delete_images(first.collection_id, ids=[first.image_id, second.image_id])
    world.catalog.empty_trash(first.collection_id)
    clock.time += GRACE / 2
    (world.pictures / second.image_id).unlink()
    index(world, copy=True)
    clock.time += GRACE
    assert released(world.builder(released_seconds=GRACE)) == 1
    assert stored(world) == ({first.sha256}, {first.sha256})


def test_what_the_catalog_never_held_is_never_touched(world: World, clock: Clock) -> None:
    foreign = world.blobs.put(b"somebody else's")
    world.draw(1)
    index(world, copy=True)
    lose(world)
    clock.time += GRACE + 1.0
    assert released(world.builder(released_seconds=GRACE)) == 1
    assert stored(world) == ({foreign}, set())


def test_when_no_time_is_given_everything_stays_for_others_who_may_share_the_place(
    world: World, clock: Clock
) -> None:
    world.draw(2)
    index(world, copy=True)
    before = stored(world)
    lose(world)
    clock.time += 100 * DAYS
    assert released(world.builder()) == 0
    assert stored(world) == before
    assert released(world.builder(released_seconds=GRACE)) == 2


def test_a_file_that_cannot_be_removed_does_not_hold_up_the_others(tmp_path: Path, clock: Clock) -> None:
    world = World(tmp_path, Knobs(), clock)
    world.create()
    world.draw(5)
    index(world, copy=True)
    shas = sorted(image.sha256 for image in world.live())
    lose(world)
    clock.time += GRACE + 1.0
    [original] = tmp_path.rglob(f"originals/{shas[0][:2]}/{shas[0]}")
    obstacle = original.parents[2] / "taken" / "originals" / shas[0][:2]
    obstacle.parent.mkdir(parents=True)
    obstacle.write_bytes(b"a file where a folder has to be")
    assert released(world.builder(released_seconds=GRACE)) == 4
    assert set(world.blobs) == {shas[0]}
    obstacle.unlink()
    clock.time += 100.0
    assert released(world.builder(released_seconds=GRACE)) == 1
    world.catalog.close()


def test_without_any_grace_bytes_that_just_came_in_stay_for_the_row_that_is_not_written_yet(
    world: World, clock: Clock
) -> None:
    world.draw(1)
    index(world, copy=True)
    [old] = world.live()
    world.catalog.delete_images(old.collection_id, ids=[old.image_id])
    world.catalog.empty_trash(old.collection_id)
    builder = world.builder(released_seconds=0.0, orphan_seconds=3600.0)
    clock.time += 10.0
    assert world.blobs.put((world.pictures / old.image_id).read_bytes()) == old.sha256  # … and now it sleeps
    assert released(builder) == 0
    assert old.sha256 in stored(world)[0]
