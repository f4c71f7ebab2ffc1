"""What a source names twice is said and counted, and every caption of a picture is kept."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import SourceError
from sightline.indexer.sources.listing import SourceItem, iter_source
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


def manifest(folder: Path, *rows: dict[str, Any]) -> Path:
    """A manifest beside the pictures that it names."""
    folder.mkdir(exist_ok=True)
    for number in range(4):
        (folder / f"{number}.png").write_bytes(picture(number))
    path = folder / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def reasons(world: World, job: Any) -> list[str]:
    return sorted(line.reason for line in world.catalog.job_errors(job.id))


def test_a_row_with_too_much_metadata_fails_by_itself_and_is_not_pruned(world: World, tmp_path: Path) -> None:
    most = 64 << 10
    rows = [{"uri": f"{number}.png", "note": "n" * 100} for number in range(4)]
    run(world, manifest(tmp_path / "m", *rows))
    rows[1]["note"] = "n" * most
    rows[2]["caption"] = "c" * (most + 1)
    rows[3]["caption"] = "c" * most
    job = run(world, manifest(tmp_path / "m", *rows), prune=True, prune_limit="100%")
    failed = {line.id: line.reason for line in world.catalog.job_errors(job.id)}
    assert failed == {"1.png": "metadata_too_large", "2.png": "metadata_too_large"}
    kept = {image.image_id: image for image in world.catalog.images(COLLECTION).items}
    assert kept.keys() == {f"{number}.png" for number in range(4)}
    assert (kept["1.png"].metadata, kept["2.png"].caption) == ({"note": "n" * 100}, None)
    assert kept["3.png"].caption == rows[3]["caption"]


def test_every_caption_of_a_picture_is_kept(world: World, tmp_path: Path) -> None:
    rows = [{"uri": "1.png", "id": "x", "caption": f"caption {number}"} for number in range(5)]
    run(world, manifest(tmp_path / "m", *rows[:2], {"uri": "2.png", "id": "y"}, *rows[2:]))
    found = {image.image_id: image.caption for image in world.live()}
    assert found == {"x": "\n".join(f"caption {number}" for number in range(5)), "y": None}


def test_a_second_member_of_a_name_is_said(world: World, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("same.png", picture(0))
        for number in (1, 2):
            with pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr("same.png", picture(number))
    job = run(world, tmp_path / "a.zip")
    assert reasons(world, job) == ["duplicate", "duplicate"]
    assert len(world.live()) == 1


def test_repeats_are_counted_and_the_second_run_changes_nothing(world: World, tmp_path: Path) -> None:
    rows = [{"uri": "1.png", "id": "x", "caption": f"caption {number}"} for number in (1, 2, 2)]
    path = manifest(tmp_path / "m", *rows, {"uri": "2.png", "id": "y"})
    job = run(world, path)
    progress = world.catalog.job_progress(job.id)
    assert (progress.indexed, progress.failed, progress.duplicates) == (2, 0, 2)
    version = world.catalog.version(COLLECTION)
    assert world.catalog.job_progress(run(world, path).id).duplicates == 2
    assert world.catalog.version(COLLECTION) == version
    path.write_text(path.read_text().replace("caption 2", "other"))
    run(world, path)
    assert {image.caption for image in world.live()} == {"caption 1\nother", None}


def test_rows_that_contradict_are_said_by_their_line(world: World, tmp_path: Path) -> None:
    path = manifest(
        tmp_path / "m",
        {"uri": "1.png", "id": "x", "caption": "one", "year": 1999},
        {"uri": "1.png", "id": "x", "caption": "two", "year": 2000, "place": "NL"},
        {"uri": "2.png", "id": "x", "caption": "three"},
        {"uri": "1.png", "id": "x", "year": 1999.0},
    )
    job = run(world, path)
    [image] = world.live()
    assert (image.uri, image.caption) == (str(path.parent / "1.png"), "one\ntwo")
    assert image.metadata == {"year": 1999, "place": "NL"}
    told = {line.id: line.detail for line in world.catalog.job_errors(job.id)}
    assert told.keys() == {"list.jsonl:2", "list.jsonl:3"}
    assert "year" in told["list.jsonl:2"]
    assert "another picture" in told["list.jsonl:3"]
    progress = world.catalog.job_progress(job.id)
    assert (progress.indexed, progress.failed, progress.duplicates) == (1, 2, 3)


def test_rows_of_a_picture_that_are_far_apart_are_put_together(tmp_path: Path) -> None:
    rows = [json.dumps({"uri": f"{number % 500}.png", "caption": f"{number}"}) for number in range(1500)]
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(rows))
    found = {item.image_id: item.caption for item in iter_source(str(path)) if isinstance(item, SourceItem)}
    expected = {f"{number}.png": f"{number}\n{number + 500}\n{number + 1000}" for number in range(500)}
    assert found == expected


def test_a_manifest_that_breaks_off_lists_what_came_before(tmp_path: Path) -> None:
    rows = [json.dumps({"uri": "a.png", "caption": caption}) for caption in ("one", "two")]
    path = tmp_path / "list.jsonl"
    path.write_bytes("\n".join([*rows, '{"uri": "b.png"}', ""]).encode() + b"x" * (17 << 20))
    listing = iter_source(str(path))
    found = [next(listing), next(listing)]
    assert {(item.image_id, getattr(item, "caption", "")) for item in found} == {
        ("a.png", "one\ntwo"),
        ("b.png", None),
    }
    with pytest.raises(SourceError, match="16 MB"):
        next(listing)


def test_a_second_member_of_a_tar_is_counted(world: World, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number in (1, 2):
            (tmp_path / "same.png").write_bytes(picture(number))
            archive.add(tmp_path / "same.png", "same.png")
    job = run(world, tmp_path / "a.tar")
    [line] = world.catalog.job_errors(job.id)
    assert (line.reason, world.catalog.job_progress(job.id).duplicates) == ("duplicate", 1)
    assert "a.tar!/same.png" in line.detail


def test_a_source_that_is_named_twice_is_listed_once(world: World, tmp_path: Path) -> None:
    path = manifest(tmp_path / "m", {"uri": "1.png"}).parent
    job = run(world, path, f"{path}/", f"{path}/../m")
    progress = world.catalog.job_progress(job.id)
    assert (progress.indexed, progress.unchanged, progress.duplicates) == (4, 0, 0)
