"""What was deleted and restored answers as before, whatever the builder did to the files meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from sightline.blip.toy import ToyEncoder
from sightline.errors import ConflictError, NotFoundError
from sightline.indexer.indexer import Upload
from sightline.retriever.retriever import Retriever
from sightline.store.blobs import BlobStore
from tests.indexer.test_indexer_builder import Clock
from tests.indexer.world import COLLECTION, Knobs, World, picture, problems

DAY = 86_400.0
QUIET = {"fold_idle_max_images": 0, "merge_at_least": 10_000}
Answer = list[tuple[str, float, str | None, Mapping[str, object], bytes]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def local(tmp_path: Path, clock: Clock) -> Iterator[World]:
    """For what is the same on every database."""
    world = World(tmp_path, Knobs(), clock)
    world.create()
    yield world
    assert world.catalog.check() == []
    world.close()


@pytest.fixture
def world(tmp_path: Path, clock: Clock, catalog_url: str) -> Iterator[World]:
    world = World(tmp_path, Knobs(catalog="" if catalog_url.startswith("sqlite") else catalog_url), clock)
    world.create()
    yield world
    assert world.catalog.check() == []
    world.close()


def add(world: World, *numbers: int) -> None:
    """Uploads in one segment, with captions and metadata."""
    uploads = [
        Upload(picture(number), str(number), f"caption {number}", {"number": number}) for number in numbers
    ]
    job, _ = world.indexer.add(COLLECTION, uploads)
    world.indexer.wait(job.id, timeout=120)


def answers(world: World, collection: str = COLLECTION) -> list[Answer]:
    """Four queries: ids, scores, captions, metadata and patches of everything, in order."""
    retriever = Retriever(world.catalog, world.segments, world.indexes)
    vectors = np.random.default_rng(0).normal(size=(4, ToyEncoder.joint_dim)).astype(np.float32)
    found = []
    for vector in vectors / np.linalg.norm(vectors, axis=1, keepdims=True):
        hits = retriever.retrieve(collection, vector, 1000).candidates
        images = world.catalog.describe(world.catalog.collection(collection).id, [hit.key for hit in hits])
        places = world.catalog.locations([hit.key for hit in hits])
        rows = {}
        for key, place in places.items():
            patches = world.segments.read(place.file).patches
            assert patches is not None
            rows[key] = patches[place.row].tobytes()
        described = [(images[hit.key], hit) for hit in hits]
        found.append(
            [
                (image.image_id, hit.itc, image.caption, image.metadata, rows[hit.key])
                for image, hit in described
            ]
        )
    return found


def number_of(world: World) -> int:
    return world.catalog.collection(COLLECTION).id


def delete(world: World, *names: str) -> None:
    assert world.catalog.delete_images(number_of(world), names) == len(names)


def trashed(world: World) -> list[str]:
    return sorted(image.image_id for image in world.catalog.images(COLLECTION, state="trashed").items)


def steps(world: World, **changes: object) -> None:
    report = world.builder(**(QUIET | changes)).step()
    assert report is not None


def folds(world: World, clock: Clock) -> None:
    steps(world, fold_min_images=0, fold_fraction=0.0)
    world.builder().fold(COLLECTION)


def merges(world: World, clock: Clock) -> None:
    steps(world, merge_at_least=2)
    assert world.catalog.collection_counts(COLLECTION)["segments"] == 1


def rewrites(world: World, clock: Clock) -> None:
    """Others are given up, so that much of each segment is gone, and the generation too."""
    world.catalog.delete_images(number_of(world), ["0", "4", "8"])
    world.catalog.empty_trash(number_of(world), ["0", "4", "8"])
    steps(world, rewrite_dead_fraction=0.1, fold_dead_fraction=0.1)
    steps(world, rewrite_dead_fraction=0.1, fold_dead_fraction=0.1)


def everything(world: World, clock: Clock) -> None:
    for meanwhile in (folds, rewrites, merges, folds):
        meanwhile(world, clock)
    clock.time += 700.0  # the files that were replaced go
    steps(world)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(
    "meanwhile",
    [everything, *(pytest.param(one, marks=pytest.mark.long) for one in (folds, merges, rewrites))],
)
def test_restored_pictures_answer_as_before_whatever_happened_meanwhile(
    world: World, clock: Clock, folded: bool, meanwhile: object
) -> None:
    for first in (0, 4, 8):
        add(world, *range(first, first + 4))
    if folded:
        assert world.builder().fold(COLLECTION)
    gone = {"0", "4", "8"} if meanwhile in (rewrites, everything) else set()
    before = [[hit for hit in one if hit[0] not in gone] for one in answers(world)]
    assert world.models.toy.seen == 12
    delete(world, "1", "2", "3", "5")
    assert {hit[0] for hit in answers(world)[0]} == set(map(str, range(12))) - {"1", "2", "3", "5"}
    assert trashed(world) == ["1", "2", "3", "5"]
    meanwhile(world, clock)  # type: ignore[operator]
    assert trashed(world) == ["1", "2", "3", "5"]
    version = world.catalog.version(COLLECTION)[1]
    done = world.catalog.restore_images(number_of(world))
    assert (done.restored, done.refused) == (["1", "2", "3", "5"], [])
    assert answers(world) == before
    assert world.models.toy.seen == 12, "without the model"
    assert world.catalog.version(COLLECTION)[1] > version
    assert problems(world, sorted(set(map(str, range(12))) - gone)) == []


def test_a_trash_alone_makes_the_builder_rewrite_nothing(local: World, clock: Clock) -> None:
    add(local, *range(8))
    assert local.builder().fold(COLLECTION)
    files = local.catalog.segment_files() | local.catalog.generation_files()
    delete(local, *map(str, range(7)))
    for _ in range(3):
        steps(local)
    assert local.catalog.segment_files() | local.catalog.generation_files() == files


def test_a_picture_deleted_while_its_collection_folds_is_not_found_and_comes_back(local: World) -> None:
    add(local, *range(6))
    before = answers(local)
    folding = local.builder()._folding
    snapshot = local.catalog.snapshot(COLLECTION)
    delete(local, "2")  # after the snapshot, before the generation is built
    assert folding.fold(snapshot)
    assert "2" not in {hit[0] for hit in answers(local)[0]}
    snapshot = local.catalog.snapshot(COLLECTION)
    assert local.catalog.restore_images(number_of(local)).restored == ["2"]
    assert folding.fold(snapshot)  # what it knew to be in the trash is not
    assert answers(local) == before


def test_what_is_pruned_comes_back_though_its_source_is_gone(local: World, clock: Clock) -> None:
    names = local.draw(5)
    local.indexer.wait(local.index(copy=True).id, timeout=120)
    before = answers(local)
    for name in names[:3]:
        (local.pictures / name).unlink()
    job = local.index(copy=True, prune=True, prune_limit="100%")
    assert local.catalog.job_progress(job.id).deleted == 3
    folds(local, clock)
    clock.time += 29 * DAY
    steps(local, released_seconds=DAY)
    assert local.catalog.restore_images(number_of(local)).restored == names[:3]
    assert answers(local) == before
    for image in local.live():
        assert local.blobs.get(image.sha256)
        assert local.blobs.get_thumbnail(image.sha256)


def test_a_pruned_picture_that_is_indexed_again_costs_no_model(local: World) -> None:
    """Bytes in the trash are known: their tokens and patches are copied."""
    names = local.draw(4)
    local.indexer.wait(local.index(copy=True).id, timeout=120)
    before, seen = answers(local), local.models.toy.seen
    data = (local.pictures / names[0]).read_bytes()
    (local.pictures / names[0]).unlink()
    local.index(copy=True, prune=True)
    (local.pictures / names[0]).write_bytes(data)
    local.indexer.wait(local.index(copy=True).id, timeout=120)
    assert [sorted(one) for one in answers(local)] == [sorted(one) for one in before], "under a new key"
    assert local.models.toy.seen == seen


def test_an_id_that_is_taken_stays_in_the_trash_and_the_others_come_back(world: World) -> None:
    add(world, 1, 2, 3)
    delete(world, "1", "2", "3")
    add(world, 2)
    job, _ = world.indexer.add(COLLECTION, [Upload(picture(77), "3")])  # waits for a worker
    done = world.catalog.restore_images(number_of(world), ["1", "2", "3", "unknown"])
    assert done.restored == ["1"]
    assert [(one.id, one.reason) for one in done.refused] == [
        ("2", "id_taken"), ("3", "id_taken"), ("unknown", "not_found")
    ]  # fmt: skip
    assert all(one.detail.endswith(".") for one in done.refused)
    assert trashed(world) == ["2", "3"]
    world.indexer.wait(job.id, timeout=120)


def test_of_two_who_restore_and_delete_at_once_each_picture_is_restored_once(world: World) -> None:
    add(world, *range(20))
    before = answers(world)
    delete(world, *map(str, range(20)))
    counted: list[int] = []

    def restore() -> None:
        counted.append(len(world.catalog.restore_images(number_of(world)).restored))

    threads = [threading.Thread(target=restore) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(counted) == [0, 0, 0, 20]
    assert answers(world) == before


def test_what_is_in_the_trash_long_enough_is_given_up_and_its_bytes_go(local: World, clock: Clock) -> None:
    add(local, *range(4))
    shas = {image.image_id: image.sha256 for image in local.live()}
    delete(local, "0")
    clock.time += 20 * DAY
    delete(local, "1")
    clock.time += 9 * DAY
    steps(local, released_seconds=DAY)
    assert trashed(local) == ["0", "1"]
    clock.time += 2 * DAY
    report = local.builder(**QUIET, released_seconds=DAY).step()
    assert report is not None
    assert report.given_up == 1
    assert trashed(local) == ["1"]
    assert set(local.blobs) == set(shas.values())
    clock.time += 2 * DAY
    steps(local, released_seconds=DAY)
    assert set(local.blobs) == set(shas.values()) - {shas["0"]}
    assert local.catalog.restore_images(number_of(local)).restored == ["1"]
    delete(local, "2")
    steps(local, trash_seconds=0.0)
    assert trashed(local) == []


def test_a_deleted_collection_answers_the_same_when_it_is_restored(world: World, clock: Clock) -> None:
    add(world, *range(6))
    assert world.builder().fold(COLLECTION)
    add(world, *range(6, 9))
    delete(world, "4")
    before = answers(world)
    job, _ = world.indexer.add(COLLECTION, [Upload(picture(50), "waits")])
    world.catalog.delete_collection(COLLECTION)
    for ask in (world.catalog.collection, world.catalog.version, world.catalog.snapshot):
        with pytest.raises(NotFoundError):
            ask(COLLECTION)
    with pytest.raises(NotFoundError):
        world.catalog.job(job.id)
    assert (world.catalog.collections(), world.catalog.jobs()) == ([], [])
    assert world.indexer.run_pending() == 0
    clock.time += 20 * DAY
    for _ in range(2):
        steps(world, merge_at_least=2, released_seconds=DAY, fold_min_images=0)
        clock.time += DAY / 2
    [one] = world.catalog.trashed_collections()
    assert (one.name, one.images, one.pending) == (COLLECTION, 8, 1)
    assert world.catalog.restore_collection(COLLECTION).name == COLLECTION
    assert answers(world) == before
    world.indexer.wait(job.id, timeout=120)
    assert "waits" in {image.image_id for image in world.live()}, "an acknowledged upload is not lost"
    assert trashed(world) == ["4"]


def test_a_collection_whose_name_is_taken_is_restored_under_another(local: World, clock: Clock) -> None:
    add(local, *range(3))
    before = answers(local)
    local.catalog.delete_collection(COLLECTION)
    local.create()
    add(local, 9)
    clock.time += 1.0
    local.catalog.delete_collection(COLLECTION)
    local.create()
    newer, older = local.catalog.trashed_collections()
    assert (newer.images, older.images, newer.name, older.name) == (1, 3, COLLECTION, COLLECTION)
    with pytest.raises(ConflictError, match="--as NAME"):
        local.catalog.restore_collection(COLLECTION)
    assert local.catalog.restore_collection(older.id, "holidays").name == "holidays"
    assert answers(local, "holidays") == before
    local.catalog.empty_collection(COLLECTION)
    assert local.catalog.trashed_collections() == []


def test_a_deleted_collection_is_given_up_after_its_time(local: World, clock: Clock) -> None:
    add(local, *range(3))
    local.catalog.delete_collection(COLLECTION)
    clock.time += 29 * DAY
    steps(local, released_seconds=DAY)
    assert len(local.catalog.trashed_collections()) == 1
    clock.time += 2 * DAY
    report = local.builder(**QUIET, released_seconds=DAY).step()
    assert report is not None
    assert report.given_up == 3
    clock.time += 2 * DAY
    steps(local, released_seconds=DAY)
    assert (local.catalog.trashed_collections(), set(local.blobs)) == ([], set())
    assert isinstance(local.blobs, BlobStore)
    local.create()
