"""A disk that takes no more: told to who waits, costs no picture a try, and the work goes on when it can."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.errors import NoRoomError, StorageError, UnavailableError
from sightline.indexer.tasks import Outcome, TaskRunner
from sightline.store.storage import storage_error, writing
from tests.indexer.world import COLLECTION, Knobs, World
from tests.small_disk import small_disk

COUNT = 6
SETTINGS = {"batch_size": 3, "max_attempts": 2, "trouble_seconds": 0.0}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, Knobs(indexer=SETTINGS))
    world.create()
    yield world
    world.close()


@pytest.mark.parametrize("part", ["segments", "blobs"])
def test_a_worker_without_room_fails_no_picture_and_says_where_room_is_missing(
    world: World, part: str
) -> None:
    names = world.draw(COUNT)
    with small_disk(world.data / part, 256) as disk:
        disk.fill()
        job = world.index()
        for _ in range(3 * SETTINGS["max_attempts"]):  # type: ignore[operator]
            assert world.indexer.run_pending() == 0
        progress = world.catalog.job_progress(job.id)
        assert (progress.pending, progress.failed, progress.state) == (COUNT, 0, "running")
        assert progress.detail is not None
        assert "The disk is full" in progress.detail
        assert str(world.data / part) in progress.detail
        with pytest.raises(UnavailableError, match=f"0 images are indexed, {COUNT} wait"):
            world.indexer.wait(job.id, timeout=60)
        disk.free()
        world.indexer.run_pending()
        progress = world.catalog.job_progress(job.id)
        assert (progress.indexed, progress.failed, progress.state) == (COUNT, 0, "done")
        assert progress.detail is None
        assert sorted(image.image_id for image in world.live()) == sorted(names)


class Away:
    """A handler for which a service is away."""

    def work(self, lease: object, heartbeat: object) -> bool:
        raise UnavailableError("It is away.")

    def give_up(self, lease: object, *why: str) -> bool:
        raise AssertionError("nobody may give up because of that")


def test_a_service_that_is_away_costs_no_try_either(world: World) -> None:
    world.draw(3)
    job = world.index()
    (task,) = world.catalog.unsent_tasks(0, 10)
    runner = TaskRunner(world.catalog, world.parts.settings, {"embed": Away()})  # type: ignore[dict-item]
    tried = [runner.run(task, "worker") for _ in range(5)]
    assert tried == [Outcome.TROUBLED] * 5
    assert world.catalog.job_progress(job.id).detail == "It is away."
    assert world.catalog.task(task).state == "ready"


def test_the_builder_without_room_goes_on_and_folds_when_there_is_some(world: World) -> None:
    world.draw(COUNT)
    world.index()
    world.indexer.run_pending()
    with small_disk(world.generations, 64) as disk:
        disk.fill()
        builder = world.builder(fold_min_images=1, rest_seconds=0.0)
        for _ in range(2):
            report = builder.step()
            assert report is not None
            assert report.folded == 0
        assert len(world.live()) == COUNT
        disk.free()
        report = builder.step()
        assert report is not None
        assert report.folded == 1
        assert world.catalog.snapshot(COLLECTION).generation is not None


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, NoRoomError),
        (errno.EDQUOT, NoRoomError),
        (errno.EFBIG, NoRoomError),
        (errno.EIO, StorageError),
        (errno.EROFS, StorageError),
        (errno.EACCES, StorageError),
    ],
)
def test_what_a_disk_refuses_is_an_error_of_our_own(number: int, kind: type[StorageError]) -> None:
    with pytest.raises(kind, match="/some/where"), writing("/some/where"):
        raise OSError(number, "said so")


def test_what_is_no_refusal_passes() -> None:
    assert storage_error(FileExistsError(errno.EEXIST, "there"), "x") is None
    with pytest.raises(FileNotFoundError), writing("x"):
        raise FileNotFoundError(errno.ENOENT, "gone")
