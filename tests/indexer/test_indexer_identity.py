"""Whose an id is: nothing is replaced by another source unasked, and what moved is found at its new place."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.indexer.world import COLLECTION, Knobs, World, picture


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data", Knobs(indexer={"batch_size": 8}))
    world.create()
    yield world
    world.close()


def run(world: World, *sources: Path | str, **options: Any) -> Any:
    """Index to the end; the job."""
    job = world.indexer.index([str(source) for source in sources], COLLECTION, **options)
    world.indexer.run_pending()
    return world.catalog.job(job.id)


def fill(folder: Path, **pictures: int) -> Path:
    """Pictures ``<name>.png`` with these numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, number in pictures.items():
        (folder / f"{name}.png").write_bytes(picture(number))
    return folder


def reasons(world: World, job: Any) -> dict[str, str]:
    return {line.id: line.reason for line in world.catalog.job_errors(job.id)}


def uris(world: World) -> dict[str, str]:
    return {image.image_id: image.uri for image in world.live()}


def test_equal_names_of_two_sources_lose_no_picture(world: World, tmp_path: Path) -> None:
    old, new = fill(tmp_path / "2019", beach=1), fill(tmp_path / "2020", beach=2)
    run(world, old)
    job = run(world, new)
    assert uris(world) == {"beach.png": str(old / "beach.png")}
    assert reasons(world, job) == {str(new / "beach.png"): "id_taken"}


def test_equal_names_in_one_run_are_said(world: World, tmp_path: Path) -> None:
    old, new = fill(tmp_path / "2019", beach=1), fill(tmp_path / "2020", beach=2)
    job = run(world, old, new)
    assert uris(world) == {"beach.png": str(old / "beach.png")}
    assert reasons(world, job) == {str(new / "beach.png"): "id_taken"}


def test_a_folder_that_moved_has_its_new_addresses_without_the_model(world: World, tmp_path: Path) -> None:
    old = fill(tmp_path / "old", a=1, b=2)
    run(world, old)
    seen = world.models.toy.seen
    new = old.rename(tmp_path / "new")
    job = run(world, new)
    assert uris(world) == {"a.png": str(new / "a.png"), "b.png": str(new / "b.png")}
    assert {image.source for image in world.live()} == {str(new)}
    assert world.catalog.job_progress(job.id).unchanged == 2
    assert world.models.toy.seen == seen


def test_a_manifest_that_moved_has_its_new_addresses_without_the_model(world: World, tmp_path: Path) -> None:
    old = fill(tmp_path / "old", a=1)
    (old / "list.jsonl").write_text(json.dumps({"uri": "a.png", "id": "first"}))
    run(world, old / "list.jsonl")
    seen = world.models.toy.seen
    new = old.rename(tmp_path / "new")
    run(world, new / "list.jsonl")
    assert uris(world) == {"first": str(new / "a.png")}
    assert {image.source for image in world.live()} == {str(new / "list.jsonl")}
    assert world.models.toy.seen == seen


def test_copies_that_are_asked_for_later_are_referred_to(world: World, tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", a=1)
    run(world, folder)
    run(world, folder, copy=True)
    [image] = world.live()
    assert image.uri == f"blob:{image.sha256}"
    run(world, folder)
    assert uris(world) == {"a.png": f"blob:{image.sha256}"}, "a copy is not given up"


def test_an_archive_that_moved_has_its_new_source(world: World, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with zipfile.ZipFile(tmp_path / "one" / "a.zip", "w") as archive:
        archive.writestr("in.png", picture(1))
    run(world, tmp_path / "one" / "a.zip")
    seen = world.models.toy.seen
    (tmp_path / "one" / "a.zip").rename(tmp_path / "two" / "a.zip")
    run(world, tmp_path / "two" / "a.zip")
    assert [image.source for image in world.live()] == [str(tmp_path / "two" / "a.zip")]
    assert world.models.toy.seen == seen


def test_an_id_that_is_too_long_fails_alone(world: World, tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", a=1, b=2, c=3)
    rows = [{"uri": "a.png", "id": "a"}, {"uri": "b.png", "id": "b" * 5000}, {"uri": "c.png", "id": "c"}]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    job = run(world, folder / "list.jsonl")
    assert sorted(uris(world)) == ["a", "c"]
    assert job.state == "done"
    assert world.catalog.job_progress(job.id).failed == 1
