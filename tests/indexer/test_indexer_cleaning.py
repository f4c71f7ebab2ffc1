"""What the builder removes, and everything that it leaves alone: other people's files, other catalogs' files,
files that are being published, whatever the clocks say.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.errors import ConflictError, UnavailableError
from sightline.indexer.building.builder import Builder
from sightline.indexer.settings import BuilderSettings
from sightline.store.blobs import ORIGINALS
from sightline.store.durable import FileMissingError, publish_or_remove
from sightline.store.ownership import MARKER, Place, adopt, claim_all, owner_of, places_of
from sightline.store.records import NewSegment
from sightline.store.segments import write_segment
from sightline.store.work_records import Lease
from tests.indexer.test_indexer_builder import (
    NO_FOLD,
    NO_MERGE,
    Clock,
    expected,
    found,
    names,
    publish,
    register,
    segment_files,
    step,
    tokens_of,
)
from tests.indexer.world import COLLECTION, Knobs, World

HOUR = 3600.0
DAY = 24 * HOUR
ENDING = ".segment.safetensors"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(tmp_path: Path, clock: Clock) -> Iterator[World]:
    world = World(tmp_path, Knobs(), clock)
    world.create()
    yield world
    assert world.catalog.check() == []
    world.catalog.close()


def looks(builder: Builder, clock: Clock, *, days: bool = True) -> int:
    """Six looks an hour apart, then as many a day apart; how many files were removed or set aside."""
    removed = 0
    for seconds in [HOUR] * 6 + [DAY] * 6 * days:
        clock.time += seconds
        removed += step(builder).removed
    return removed


def tree(*folders: Path) -> dict[str, bytes]:
    """Every file below these folders but what the builder itself notes in them."""
    paths = [path for folder in folders for path in folder.rglob("*")]
    return {
        str(path): path.read_bytes()
        for path in paths
        if path.is_file() and not path.name.startswith(".sightline")
    }


def fill(world: World, batches: int = 3) -> None:
    """That many segments of two pictures, and a generation over them."""
    for number in range(batches):
        publish(world, names(2, first=2 * number))
    world.builder().fold(COLLECTION)


def on_shared_folders(first: World, data: Path, clock: Clock) -> World:
    """Another catalog, empty, whose segments and generations lie where those of the first do."""
    second = World(data, Knobs(), clock)
    second.segments = first.segments
    second.generations = first.generations
    return second


def stray(world: World, key: int = 77) -> str:
    """A finished segment that nobody publishes."""
    keys = np.array([key], np.int64)
    patches = np.zeros((1, 5, 6), np.float16)
    return write_segment(world.segments.folder, keys, tokens_of(key)[None], patches, "fp16").file


def written(world: World, lease: Lease) -> NewSegment:
    """The segment of a leased batch, before it is published."""
    keys = np.array([image.key for image in lease.images], np.int64)
    tokens = np.stack([tokens_of(int(key)) for key in keys])
    patches = np.zeros((len(keys), 5, 6), np.float16)
    return write_segment(world.segments.folder, keys, tokens, patches, "fp16")


def leased(world: World, name: str = "late") -> Lease:
    [task] = register(world, [name])
    lease = world.catalog.acquire(task, "worker", 100 * DAY)
    assert lease is not None
    return lease


def publish_late(world: World, lease: Lease, segment: NewSegment) -> bool:
    return world.catalog.publish(lease, segment, sizes={image.key: (8, 8) for image in lease.images})


def copy_of_catalog(world: World, to: Path) -> None:
    """A consistent copy of the SQLite file, as a backup makes it."""
    to.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(world.data / "catalog.sqlite")) as source,
        closing(sqlite3.connect(to)) as copy,
    ):
        source.backup(copy)


# --- other people's files ------------------------------------------------------------------------------


def test_other_peoples_files_are_never_touched(world: World, clock: Clock) -> None:
    fill(world)
    for folder in (world.segments.folder, world.generations):
        for name in ("thesis.odt", "holiday.jpg", f"notes{ENDING}", f"{'g' * 32}{ENDING}", "0" * 32):
            (folder / name).write_bytes(b"mine")
        (folder / "folder").mkdir()
        (folder / "folder" / f"{'a' * 32}{ENDING}").write_bytes(b"mine")
        (folder / f"{'b' * 32}{ENDING}").mkdir()
        (folder / f"{'c' * 32}{ENDING}").symlink_to(folder / "thesis.odt")
    before = tree(world.segments.folder, world.generations)
    looks(world.builder(), clock)
    assert tree(world.segments.folder, world.generations) == before
    assert found(world) == expected(world)


def test_one_folder_for_segments_and_generations_loses_nothing(world: World, clock: Clock) -> None:
    world.generations = world.segments.folder
    fill(world)
    before = tree(world.segments.folder)
    looks(world.builder(**NO_MERGE), clock)
    assert before.items() <= tree(world.segments.folder).items()
    assert found(world) == expected(world)


# --- other catalogs' files -----------------------------------------------------------------------------


@pytest.mark.parametrize("marked", [True, False])
def test_a_fresh_catalog_removes_nothing_from_folders_that_another_one_filled(
    world: World, clock: Clock, tmp_path: Path, marked: bool
) -> None:
    fill(world)
    if marked:
        step(world.builder(**NO_MERGE))
    before = tree(world.segments.folder, world.generations)
    fresh = on_shared_folders(world, tmp_path / "fresh", clock)
    fresh.create()
    looks(fresh.builder(), clock)
    assert tree(world.segments.folder, world.generations) == before
    assert found(world) == expected(world)
    fresh.close()


def test_an_older_state_of_the_catalog_removes_nothing_that_came_since(
    world: World, clock: Clock, tmp_path: Path
) -> None:
    builder = world.builder(**NO_MERGE)
    publish(world, names(2))
    step(builder)
    copy_of_catalog(world, tmp_path / "old.sqlite")
    for number in range(1, 4):
        publish(world, names(2, first=2 * number))
        clock.time += HOUR
        step(builder)
    copy_of_catalog(world, tmp_path / "new.sqlite")
    before = tree(world.segments.folder)
    restored = on_shared_folders(world, tmp_path / "restored", clock)
    shutil.copy(tmp_path / "old.sqlite", tmp_path / "restored" / "catalog.sqlite")
    looks(restored.builder(**NO_MERGE), clock)
    restored.close()
    assert tree(world.segments.folder) == before
    assert found(world) == expected(world)


def test_a_copy_of_the_catalog_that_merges_and_deletes_on_the_same_folders_takes_nothing_away(
    world: World, clock: Clock, tmp_path: Path
) -> None:
    fill(world, 4)
    builder = world.builder(**NO_MERGE)
    step(builder)
    (tmp_path / "staging").mkdir()
    copy_of_catalog(world, tmp_path / "staging" / "catalog.sqlite")
    clock.time += HOUR
    step(builder)
    before = tree(world.segments.folder, world.generations)
    staging = on_shared_folders(world, tmp_path / "staging", clock)
    other = staging.builder(merge_at_least=2)
    assert step(other).merged == 4
    staging.catalog.delete_collection(COLLECTION)
    looks(other, clock)
    staging.close()
    assert before.items() <= tree(world.segments.folder, world.generations).items()


def test_a_restored_catalog_cleans_again_once_its_folders_were_adopted(
    world: World, clock: Clock, tmp_path: Path
) -> None:
    builder = world.builder(**NO_MERGE)
    fill(world)
    step(builder)
    (tmp_path / "restored").mkdir()
    copy_of_catalog(world, tmp_path / "restored" / "catalog.sqlite")
    clock.time += HOUR
    step(builder)
    restored = on_shared_folders(world, tmp_path / "restored", clock)
    late = stray(restored)
    assert looks(restored.builder(), clock, days=False) == 0
    places = places_of(restored.catalog, restored.segments.folder, restored.indexes)
    adopt(places, restored.catalog)
    assert looks(restored.builder(**NO_MERGE), clock, days=False) == 1
    assert late not in segment_files(restored)
    restored.close()


def test_nothing_is_cleaned_when_most_of_what_lies_there_is_unknown(world: World, clock: Clock) -> None:
    publish(world, names(2))
    builder = world.builder()
    step(builder)
    for _ in range(11):
        stray(world)
    before = tree(world.segments.folder)
    assert looks(builder, clock) == 0
    assert tree(world.segments.folder) == before


def test_what_a_deleted_collection_leaves_goes_though_it_was_nearly_everything(
    world: World, clock: Clock
) -> None:
    fill(world, 12)
    builder = world.builder(**NO_MERGE, trash_seconds=0.0)
    step(builder)
    world.catalog.delete_collection(COLLECTION)
    assert step(builder).removed == 0
    clock.time += 601.0
    assert step(builder).removed == 13
    assert tree(world.segments.folder, world.generations) == {}


# --- strays --------------------------------------------------------------------------------------------


def test_a_stray_is_set_aside_after_an_hour_and_deleted_a_day_later(world: World, clock: Clock) -> None:
    fill(world)
    builder = world.builder(**NO_MERGE)
    kept, late = tree(world.segments.folder, world.generations), stray(world)
    unfinished = world.segments.folder / f".aside-{'d' * 32}{ENDING}"
    unfinished.touch()
    step(builder)
    for _ in range(4):
        assert (step(builder).removed, late in segment_files(world)) == (0, True)
        clock.time += HOUR / 4
    assert step(builder).removed == 2
    assert not unfinished.exists()
    assert late not in segment_files(world)
    aside = world.segments.folder / ".swept" / late
    for _ in range(4):
        assert aside.exists()
        clock.time += DAY / 4
        step(builder)
    assert not aside.exists()
    assert tree(world.segments.folder, world.generations) == kept


def test_a_folder_that_is_reached_by_a_link_is_cleaned_and_one_that_we_made_leads_nowhere(
    world: World, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    world.segments.folder.symlink_to(tmp_path / "disk")
    fill(world)
    first, theirs = stray(world), tmp_path / "theirs"
    looks(world.builder(**NO_MERGE), clock)
    assert first not in segment_files(world)
    theirs.mkdir()
    (theirs / first).write_bytes(b"theirs")
    (tmp_path / "disk" / ".swept").rmdir()
    (tmp_path / "disk" / ".swept").symlink_to(theirs)
    second = stray(world)
    looks(world.builder(**NO_MERGE), clock)
    assert second in segment_files(world), "there is nowhere to set it aside"
    assert [path.name for path in theirs.iterdir()] == [first]


def test_builders_that_live_for_one_look_clean_as_well(world: World, clock: Clock) -> None:
    fill(world)
    late = stray(world)
    for _ in range(6):
        step(world.builder(**NO_MERGE))
        clock.time += DAY
    assert late not in segment_files(world)


def test_what_a_row_names_again_is_put_back(world: World, clock: Clock) -> None:
    fill(world)
    builder = world.builder(**NO_MERGE)
    step(builder)
    file = segment_files(world)[0]
    (world.segments.folder / ".swept").mkdir()
    (world.segments.folder / file).rename(world.segments.folder / ".swept" / file)
    clock.time += 100.0
    step(builder)
    assert file in segment_files(world)
    assert found(world) == expected(world)


# --- clocks, and what is being published ---------------------------------------------------------------


@pytest.mark.parametrize("ahead", [2 * HOUR, -3 * HOUR, 3 * HOUR])
def test_a_builder_with_a_wrong_clock_takes_nothing_away_that_is_being_published(
    world: World, clock: Clock, ahead: float
) -> None:
    fill(world)
    parts = (world.catalog, world.blobs, world.segments, world.indexes, world.formats)
    builder = Builder(*parts, BuilderSettings(**NO_FOLD, **NO_MERGE), None, lambda: clock.time + ahead)
    lease = leased(world)
    segment = written(world, lease)
    for _ in range(3):
        step(builder)
        clock.time += 61.0
    assert publish_late(world, lease, segment)
    assert (world.segments.folder / segment.file).exists()
    assert found(world) == expected(world)


@pytest.mark.parametrize("jump", [3 * HOUR, -3 * HOUR])
def test_a_clock_that_jumps_takes_nothing_away_that_is_being_published(
    world: World, clock: Clock, jump: float
) -> None:
    fill(world)
    builder = world.builder(**NO_FOLD, **NO_MERGE)
    lease = leased(world)
    segment = written(world, lease)
    for _ in range(2):
        step(builder)
        clock.time += 61.0
        step(world.builder(**NO_FOLD, **NO_MERGE))
        clock.time += jump
        step(world.builder(**NO_FOLD, **NO_MERGE))
        step(builder)
    assert publish_late(world, lease, segment)
    assert (world.segments.folder / segment.file).exists()
    assert found(world) == expected(world)


def test_a_file_that_was_set_aside_is_not_published_and_its_batch_is_done_again(
    world: World, clock: Clock
) -> None:
    fill(world)
    builder = world.builder(**NO_MERGE)
    lease = leased(world)
    segment = written(world, lease)
    looks(builder, clock, days=False)
    assert not (world.segments.folder / segment.file).exists()
    with pytest.raises(FileMissingError, match="set aside"):
        publish_late(world, lease, segment)
    again = written(world, lease)
    assert publish_late(world, lease, again)
    assert world.catalog.image(COLLECTION, "late").state == "live"


def test_a_file_that_is_gone_is_not_published(world: World) -> None:
    lease = leased(world)
    segment = written(world, lease)
    path = world.segments.folder / segment.file
    path.unlink()
    with pytest.raises(FileMissingError, match="before it was published"):
        publish_or_remove(path, lambda: publish_late(world, lease, segment))
    assert world.catalog.segment_files() == set()


# --- originals -----------------------------------------------------------------------------------------


def own_originals(world: World) -> None:
    """The originals lie in a folder of this installation, as those in a data folder do."""
    claim_all([Place(ORIGINALS, world.data / "blobs")], world.catalog.installation_id())


def test_what_a_killed_removal_left_is_put_back_though_no_time_of_grace_is_in_force(
    world: World, clock: Clock
) -> None:
    sha256 = world.blobs.put(b"picture")
    file = world.data / "blobs" / "originals" / sha256[:2] / sha256
    taken = world.data / "blobs" / "taken" / "originals" / sha256[:2] / sha256
    taken.parent.mkdir(parents=True)
    file.rename(taken)
    unfinished = world.data / "blobs" / "aside" / ("e" * 32)
    unfinished.touch()
    builder = world.builder(released_seconds=None)
    step(builder)
    assert world.blobs.get(sha256) == b"picture"
    looks(builder, clock, days=False)
    assert not unfinished.exists()


def test_copies_of_a_job_that_was_cancelled_while_listing_go_after_their_time_of_grace(
    world: World, clock: Clock
) -> None:
    own_originals(world)
    world.draw(4)
    job = world.indexer.begin([str(world.pictures)], COLLECTION, copy=True)
    world.catalog.cancel_job(job.id)
    world.indexer.register(job.id)
    assert len(set(world.blobs)) == 4
    kept = world.index(copy=True)
    world.indexer.wait(kept.id, timeout=60)
    world.catalog.delete_images(world.catalog.collection(COLLECTION).id, ids=["00000.png"])
    other = world.blobs.put(b"nobody names this")
    builder = world.builder(released_seconds=DAY, trash_seconds=0.0)
    step(builder)
    clock.time += DAY + 61.0
    assert step(builder).released == 2
    assert other not in set(world.blobs)
    assert len(set(world.blobs)) == 3


def test_nothing_goes_from_a_place_that_another_installation_uses_too(world: World, clock: Clock) -> None:
    world.draw(1)
    job = world.index(copy=True)
    world.indexer.wait(job.id, timeout=60)
    world.blobs.claim("another")
    world.catalog.delete_collection(COLLECTION)
    builder = world.builder(released_seconds=DAY)
    for _ in range(4):
        clock.time += DAY
        assert step(builder).released == 0
    assert len(set(world.blobs)) == 1


# --- whose a folder is ---------------------------------------------------------------------------------


def test_a_folder_is_ours_once_it_says_so(tmp_path: Path) -> None:
    place = Place("segments", tmp_path / "segments")
    claim_all([place], "first")
    assert (place.folder / MARKER).read_text() == '{"installation": "first", "holds": "segments"}\n'
    claim_all([place], "first")
    before = {path.name for path in place.folder.iterdir()}
    with pytest.raises(ConflictError, match=r"segments of the installation first.*`sightline adopt`"):
        claim_all([Place("data", tmp_path / "other"), place], "second")
    assert not (tmp_path / "other").exists(), "refused before anything was written"
    assert {path.name for path in place.folder.iterdir()} == before


def test_of_many_that_claim_a_folder_at_once_one_gets_it(tmp_path: Path) -> None:
    place, barrier = Place("segments", tmp_path / "segments"), threading.Barrier(6, timeout=60)

    def claim(installation: str) -> bool:
        barrier.wait(timeout=60)
        try:
            claim_all([place], installation)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        claimed = [future.result(timeout=60) for future in [pool.submit(claim, name) for name in "abcdef"]]
    assert claimed.count(True) == 1
    assert owner_of(place.folder) == "abcdef"[claimed.index(True)]


def test_a_marker_that_is_damaged_is_nobodys_and_one_sentence(tmp_path: Path) -> None:
    for content in (b"", b"{}", b"\xff\x00", b"[1]", b'{"installation": "x"'):
        (tmp_path / MARKER).write_bytes(content)
        with pytest.raises(ConflictError, match="nobody knows whose folder it is"):
            claim_all([Place("segments", tmp_path)], "first")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot be written to"):
        claim_all([Place("segments", tmp_path / "file" / "segments")], "first")


@pytest.mark.parametrize(
    ("named", "unnamed", "taken"),
    [(0, 0, True), (0, 1, False), (1, 10, True), (1, 11, False), (12, 12, True)],
)
def test_a_folder_without_a_marker_is_taken_over_when_the_catalog_names_most_of_it(
    world: World, named: int, unnamed: int, taken: bool
) -> None:
    for number in range(named):
        publish(world, names(1, first=number))
    for _ in range(unnamed):
        stray(world)
    world.segments.folder.mkdir(exist_ok=True)
    (world.segments.folder / "thesis.odt").touch()
    places: Any = places_of(world.catalog, world.segments.folder, world.indexes)
    if not taken:
        with pytest.raises(ConflictError, match=f"holds {named + unnamed} files that are segments"):
            claim_all(places, world.catalog.installation_id())
    else:
        claim_all(places, world.catalog.installation_id())
    assert (world.segments.folder / MARKER).exists() is taken
