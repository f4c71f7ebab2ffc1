"""What lies in the trash is examined and repaired as all else: restored, it answers the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.records import SearchRequest
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, save
from tests.sightline.test_sightline_doctor import lose, problems


@pytest.fixture
def deleted(services: Installation, tmp_path: Path) -> Installation:
    """A folded collection of four copied pictures with one more unfolded, deleted as a whole."""
    folder = tmp_path / "pictures"
    for name, colours in {
        "a": ("red", "green"),
        "b": ("blue", "red"),
        "c": ("white",),
        "d": ("red",),
    }.items():
        save(folder, name, *colours)
    services.collections.create("pictures")
    _index_copies(services, folder)
    services.builder.fold("pictures")
    save(folder, "e", "yellow", "red")
    _index_copies(services, folder)
    services.catalog.delete_collection("pictures")
    return services


def _index_copies(services: Installation, folder: Path) -> None:
    job = services.indexer.index([str(folder)], "pictures", copy=True)
    services.indexer.wait(job.id, timeout=60)


def answers(services: Installation) -> list[list[tuple[str, float, float]]]:
    requests = [SearchRequest("pictures", text, limit=10) for text in ("red left", "a blue one")]
    found = [services.search.find(request) for request in requests]
    assert not any(answer.degraded for answer in found)
    return [[(hit.id, hit.score, hit.itc) for hit in answer.results] for answer in found]


def restored_answers(services: Installation) -> list[list[tuple[str, float, float]]]:
    """Restored, asked, and deleted again."""
    services.catalog.restore_collection("pictures")
    found = answers(services)
    services.catalog.delete_collection("pictures")
    return found


def harm(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


def covered(services: Installation) -> Path:
    return _segment(services, 0)


def uncovered(services: Installation) -> Path:
    return _segment(services, -1)


def _segment(services: Installation, place: int) -> Path:
    snapshot = services.catalog.snapshot_of(_number(services))
    assert snapshot is not None
    return services.settings.segments_folder / snapshot.segments[place].file


def generation(services: Installation) -> Path:
    snapshot = services.catalog.snapshot_of(_number(services))
    assert snapshot is not None
    assert snapshot.generation is not None
    return services.settings.generations_folder / snapshot.generation.file


def _number(services: Installation) -> int:
    return services.catalog.collections(trashed=True)[0].id


@pytest.mark.parametrize("damaged", [covered, uncovered, generation])
def test_a_deleted_collection_is_examined_repaired_and_answers_the_same_when_restored(
    damaged: Callable[[Installation], Path], deleted: Installation
) -> None:
    before = restored_answers(deleted)
    assert problems(deleted.settings) == []
    path = damaged(deleted)
    deleted.segments.forget(path.name)
    harm(path)
    (problem,) = problems(deleted.settings)
    assert path.name in problem.detail
    (made,) = deleted.repair.run()
    assert made.problem is None
    assert problems(deleted.settings) == []
    assert restored_answers(deleted) == before


def test_lost_images_of_a_deleted_collection_are_named_and_brought_back(
    deleted: Installation, tmp_path: Path
) -> None:
    before = restored_answers(deleted)
    path = uncovered(deleted)
    deleted.segments.forget(path.name)
    path.unlink()
    originals = deleted.settings.data_folder / "originals"
    originals.rename(tmp_path / "away")
    (tmp_path / "pictures").rename(tmp_path / "gone")
    (left,) = deleted.repair.run()
    assert left.lost == ("e.png",)
    assert "lost images" in {problem.subject for problem in problems(deleted.settings)}
    shutil.rmtree(originals, ignore_errors=True)
    (tmp_path / "away").rename(originals)
    (back,) = deleted.repair.run()
    assert (back.images, back.problem) == (1, None)
    assert problems(deleted.settings) == []
    assert restored_answers(deleted) == before


def test_a_rotten_original_of_a_deleted_collection_is_named_and_fetched_again(deleted: Installation) -> None:
    sha256 = next(iter(deleted.blobs))
    path = next((deleted.settings.data_folder / "originals").rglob(sha256))
    harm(path)
    assert [problem.subject for problem in problems(deleted.settings)] == ["originals"]
    assert [one.problem for one in deleted.bytes_repair.run()] == [None]
    assert problems(deleted.settings) == []


def test_a_segment_of_a_deleted_picture_is_examined_and_repaired(
    services: Installation, tmp_path: Path
) -> None:
    for name in "ab":
        save(tmp_path / "pictures", name, "red", "green" if name == "a" else "blue")
    index(services, tmp_path / "pictures")
    before = answers(services)
    collection = services.catalog.collection("pictures")
    services.catalog.delete_images(collection.id, ids=["b.png"])
    (segment,) = services.catalog.snapshot("pictures").segments
    lose(services, segment.file)
    assert [problem.subject for problem in problems(services.settings)] == ["collection pictures"]
    assert [one.problem for one in services.repair.run()] == [None]
    services.catalog.restore_images(collection.id, ["b.png"])
    assert answers(services) == before


def test_work_that_nobody_takes_is_a_problem(services: Installation, tmp_path: Path) -> None:
    save(tmp_path / "pictures", "a", "red")
    services.collections.create("pictures")
    services.indexer.index([str(tmp_path / "pictures")], "pictures")
    subjects = {finding.subject: finding for finding in services.doctor.examine(quick=True)}
    assert subjects["work"].status == "ok", "it waits for a moment only"
    now = services.catalog.now()
    with open_installation(services.settings, now=lambda: now + 3600.0) as later:
        found = {finding.subject: finding for finding in later.doctor.examine(quick=True)}
    assert found["work"].status == "problem"
    assert "3600 seconds, and no worker is running" in found["work"].detail
    services.catalog.delete_collection("pictures")
    with open_installation(services.settings, now=lambda: now + 3600.0) as later:
        assert {one.subject: one.status for one in later.doctor.examine(quick=True)}["work"] == "ok"
