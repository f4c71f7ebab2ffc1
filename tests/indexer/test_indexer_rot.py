"""Upkeep beside lost and damaged segments: they are left as they are, and all others are looked after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import CorruptionError
from sightline.retriever.retriever import Retriever
from sightline.store.records import Segment
from tests.indexer.world import COLLECTION, Knobs, World

NO_FOLD = {"fold_idle_max_images": 0}
MERGE = {**NO_FOLD, "merge_at_least": 2}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """24 pictures in six segments with fp16 patches, none of them folded."""
    world = World(tmp_path, Knobs(indexer={"batch_size": 4}))
    world.create()
    world.draw(24)
    world.indexer.wait(world.index().id, timeout=60)
    yield world
    world.close()


def segments(world: World) -> list[Segment]:
    return world.catalog.snapshot(COLLECTION).segments


def damage(world: World, segment: Segment, tensor: str = "patches") -> Path:
    """Flips a bit of the second image."""
    path = world.segments.folder / segment.file
    head = world.segments.head(segment.file)
    data = bytearray(path.read_bytes())
    row = head.layout.specs[tensor].bytes // segment.count
    data[head.layout.starts[tensor] + row + 3] ^= 0x10
    path.write_bytes(data)
    return path


def is_still_damaged(world: World, segment: Segment) -> bool:
    """As doctor finds out."""
    try:
        world.segments.verify(segment.file, segment.sha256)
    except CorruptionError:
        return True
    return False


@pytest.mark.parametrize("tensor", ["tokens", "patches"])
def test_a_damaged_segment_is_never_merged_and_the_others_are(world: World, tensor: str) -> None:
    rotten = segments(world)[2]
    damage(world, rotten, tensor)
    report = world.builder(**MERGE).step()
    assert report is not None
    assert report.merged == 5
    left = segments(world)
    assert sorted(one.count for one in left) == [4, 20]
    assert rotten in left
    assert is_still_damaged(world, rotten)
    for one in left:
        if one != rotten:
            world.segments.verify(one.file, one.sha256)
            assert len(world.segments.damaged_rows(one.file)) == 0
    assert world.builder(**MERGE).step() is not None, "a new builder finds the same"
    assert segments(world) == left


@pytest.mark.parametrize("tensor", ["tokens", "patches"])
def test_a_mostly_dead_segment_that_is_damaged_is_not_written_anew(world: World, tensor: str) -> None:
    rotten, dead = segments(world)[1:3]
    images = {image.key: image.image_id for image in world.live()}
    for segment in (rotten, dead):
        gone = [images[int(key)] for key in world.segments.keys(segment.file)[[0, 2, 3]]]
        world.catalog.delete_images(segment_collection(world), ids=gone)
    world.catalog.empty_trash(segment_collection(world))
    damage(world, rotten, tensor)  # of the one image that is left
    report = world.builder(**NO_FOLD, merge_at_least=10_000).step()
    assert report is not None
    assert report.rewritten == 1
    assert rotten in segments(world)
    assert dead not in segments(world)
    assert is_still_damaged(world, rotten)


def segment_collection(world: World) -> int:
    return world.catalog.collection(COLLECTION).id


@pytest.mark.parametrize("tensor", ["tokens", "patches"])
def test_a_damaged_segment_is_never_compressed_and_the_others_are(world: World, tensor: str) -> None:
    rotten = segments(world)[0]
    damage(world, rotten, tensor)
    builder = world.builder("int8", **NO_FOLD, merge_at_least=10_000)
    for _ in range(7):
        builder.step()
    codecs = {one.file: one.codec for one in segments(world)}
    assert codecs.pop(rotten.file) == "fp16"
    assert set(codecs.values()) == {"int8"}
    assert len(codecs) == 5
    assert is_still_damaged(world, rotten)


def test_the_same_bytes_are_not_copied_out_of_a_damaged_row_but_seen_again(world: World) -> None:
    damage(world, segments(world)[0])
    seen = world.models.toy.seen
    names = world.draw(4)
    for name in names:
        (world.pictures / f"again-{name}").write_bytes((world.pictures / name).read_bytes())
    world.indexer.wait(world.index().id, timeout=60)
    assert world.models.toy.seen == seen + 1, "three were copied"
    again = {image.image_id: image.key for image in world.live()}
    places = world.catalog.locations([again[f"again-{name}"] for name in names])
    assert len(world.segments.gather(list(places.values()))[0].patches) == 4


@pytest.mark.parametrize("lost", [False, True])
def test_folding_goes_on_without_a_damaged_or_lost_segment(world: World, lost: bool) -> None:
    rotten = segments(world)[3]
    path = damage(world, rotten, "tokens")
    if lost:
        path.unlink()
    builder = world.builder(fold_idle_seconds=0.0, merge_at_least=10_000)
    for _ in range(3):
        builder.step()
    snapshot = world.catalog.snapshot(COLLECTION)
    assert snapshot.generation is not None
    assert snapshot.generation.number == 1, "and it is not folded again in every pass"
    assert [one.file for one in snapshot.uncovered] == [rotten.file]
    found = search(world)
    assert len(found.candidates) == (20 if lost else 23)
    assert len(found.degraded) == 1
    world.draw(4, 100)
    world.indexer.wait(world.index().id, timeout=60)
    builder.step()
    assert world.catalog.snapshot(COLLECTION).generation.images == 24  # type: ignore[union-attr]


def test_patches_that_are_damaged_keep_no_image_out_of_the_index(world: World) -> None:
    damage(world, segments(world)[3])
    world.builder(fold_idle_seconds=0.0, merge_at_least=10_000).step()
    assert world.catalog.snapshot(COLLECTION).uncovered == []


def test_a_sound_generation_is_kept_as_long_as_it_holds_what_its_segments_have_lost(world: World) -> None:
    builder = world.builder(fold_idle_seconds=0.0, merge_at_least=10_000)
    builder.step()
    covered = segments(world)[0]
    (world.segments.folder / covered.file).unlink()
    world.draw(4, 100)
    world.indexer.wait(world.index().id, timeout=60)
    assert builder.step() is not None
    snapshot = world.catalog.snapshot(COLLECTION)
    assert snapshot.generation is not None
    assert (snapshot.generation.number, len(snapshot.uncovered)) == (1, 1)
    assert len(search(world).candidates) == 28
    assert search(world).degraded == ()
    (world.generations / snapshot.generation.file).unlink()  # now the rest is the best that can be had
    builder.step()
    snapshot = world.catalog.snapshot(COLLECTION)
    assert snapshot.generation is not None
    assert (snapshot.generation.number, snapshot.generation.images) == (2, 24)
    assert [one.file for one in snapshot.uncovered] == [covered.file]
    assert len(search(world).candidates) == 24
    assert search(world).degraded[0].startswith("4 images")


def search(world: World):  # type: ignore[no-untyped-def]
    vector = np.zeros(world.models.toy.joint_dim, np.float32)
    vector[0] = 1.0
    return Retriever(world.catalog, world.segments, world.indexes).retrieve(COLLECTION, vector, 100)
