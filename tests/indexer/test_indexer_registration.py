"""From sources and uploads to jobs: ids, failures, pruning, roots, copies, and the estimate before a run."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import InputError, NotFoundError, SourceError
from sightline.indexer.estimate import Shape, count, estimate
from sightline.indexer.roots import Roots
from sightline.indexer.uploads import Upload
from tests.indexer.world import COLLECTION, Knobs, World, picture, problems


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data", Knobs(indexer={"batch_size": 4, "register_batch": 3}))
    world.create()
    yield world
    world.close()


def run(world: World, *sources: Path | str, **options: Any) -> Any:
    """Index to the end; the job."""
    job = world.indexer.index([str(source) for source in sources], COLLECTION, **options)
    world.indexer.run_pending()
    return world.catalog.job(job.id)


def lines(world: World, job: Any) -> dict[str, str]:
    return {line.id: line.reason for line in world.catalog.job_errors(job.id)}


def test_members_of_an_archive_are_copied(world: World, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(5):
            archive.writestr(f"in/{number}.png", picture(number))
    job = run(world, tmp_path / "a.zip")
    (tmp_path / "a.zip").unlink()
    assert {image.uri for image in world.live()} == {f"blob:{image.sha256}" for image in world.live()}
    assert problems(world, [f"a.zip!/in/{number}.png" for number in range(5)]) == []
    assert world.catalog.job_progress(job.id).indexed == 5


def test_a_manifest_brings_ids_captions_and_metadata(world: World, tmp_path: Path) -> None:
    world.draw(2)
    rows = [
        {"uri": "pictures/00000.png", "id": "first", "caption": "one", "year": 1999},
        {"uri": "pictures/gone.png", "id": "gone"},
    ]
    manifest = world.data / "list.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    job = run(world, manifest)
    [image] = world.live()
    assert (image.image_id, image.caption, image.metadata) == ("first", "one", {"year": 1999})
    assert lines(world, job) == {"gone": "unreadable"}


def test_an_item_that_sql_cannot_hold_fails_alone(world: World) -> None:
    world.draw(4)
    rows = [{"uri": f"pictures/{number:05d}.png", "id": str(number)} for number in range(4)]
    rows[1] |= {"note": "a NUL \0 here"}
    manifest = world.data / "list.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    job = run(world, manifest)
    assert problems(world, ["0", "2", "3"]) == []
    assert lines(world, job).keys() == {"1"}


def test_two_pictures_with_one_id_are_one_picture_and_a_line(world: World, tmp_path: Path) -> None:
    for folder, number in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.png").write_bytes(picture(number))
    job = run(world, tmp_path / "a", tmp_path / "b", tmp_path / "a" / "same.png")
    [image] = world.live()
    assert image.uri == str(tmp_path / "a" / "same.png")
    assert lines(world, job) == {str(tmp_path / "b" / "same.png"): "id_taken"}
    progress = world.catalog.job_progress(job.id)
    assert (progress.indexed, progress.unchanged, progress.failed) == (1, 1, 1)


def test_prune_deletes_what_the_source_no_longer_has_and_keeps_what_cannot_be_read(world: World) -> None:
    names = world.draw(6)
    run(world, world.pictures, copy=True)
    (world.pictures / names[0]).unlink()
    (world.pictures / names[1]).write_bytes(b"")
    job = run(world, world.pictures, prune=True)
    progress = world.catalog.job_progress(job.id)
    assert (progress.deleted, progress.unchanged, progress.failed) == (1, 4, 1)
    assert problems(world, names[1:]) == []


def test_a_source_that_is_not_there_is_an_error_and_a_failed_job(world: World, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="There is no file or folder"):
        run(world, tmp_path / "nowhere")
    [job] = world.catalog.jobs()
    assert job.state == "failed"
    assert lines(world, job) == {str(tmp_path / "nowhere"): "unreadable"}
    with pytest.raises(NotFoundError):
        world.indexer.index([str(tmp_path)], "no such collection")
    with pytest.raises(InputError, match="No source was given"):
        world.indexer.index([], COLLECTION)


def test_what_was_listed_before_an_archive_breaks_off_is_kept(world: World, tmp_path: Path) -> None:
    world.draw(3)
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 not really")
    job = run(world, world.pictures, tmp_path / "broken.zip")
    assert job.state == "done"
    assert len(world.live()) == 3
    assert lines(world, job).keys() == {str(tmp_path / "broken.zip")}


def test_a_job_can_be_begun_now_and_registered_later(world: World) -> None:
    names = world.draw(4)
    job = world.indexer.begin([str(world.pictures)], COLLECTION, copy=True)
    assert job.state == "registering"
    assert world.catalog.job_progress(job.id).total == 0
    assert world.indexer.register(job.id).state == "running"
    world.indexer.run_pending()
    assert all(image.uri.startswith("blob:") for image in world.live())
    assert problems(world, names) == []


def test_a_job_that_is_cancelled_before_it_was_registered_registers_nothing(world: World) -> None:
    world.draw(4)
    job = world.indexer.begin([str(world.pictures)], COLLECTION)
    world.catalog.cancel_job(job.id)
    assert world.indexer.register(job.id).state == "cancelled"
    assert world.indexer.run_pending() == 0


# --- roots ---------------------------------------------------------------------------------------------


def test_roots_hold_for_every_item_and_not_only_for_the_source(world: World, tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "good.png").write_bytes(picture(1))
    (outside / "secret.png").write_bytes(picture(2))
    os.symlink(outside / "secret.png", inside / "link.png")
    os.symlink(outside, inside / "folder")
    rows = ["good.png", "../outside/secret.png", str(outside / "secret.png"), "folder/secret.png"]
    manifest = [json.dumps({"uri": row, "id": f"row {number}"}) for number, row in enumerate(rows)]
    (inside / "list.jsonl").write_text("\n".join(manifest))
    sources = [str(inside), str(inside / "list.jsonl")]
    job = world.indexer.begin(sources, COLLECTION, roots=[str(inside)])
    world.indexer.register(job.id)
    world.indexer.run_pending()
    assert {image.image_id for image in world.live()} == {"good.png", "row 0"}
    forbidden = {line for line, reason in lines(world, job).items() if reason == "forbidden"}
    assert forbidden == {"link.png", "folder", "row 1", "row 2", "row 3"}


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("/data/photos/a.png", True),
        ("/data/photos/../secret.png", False),
        ("/data/photos2/a.png", False),
        ("/data/photos", True),
        ("file:///data/photos/a%20b.png", True),
        ("file:///data/photos/%2e%2e/secret.png", False),
        ("/data/photos/a.zip!/../../etc/passwd", False),
        ("/data/photos/a.zip!/b.png", True),
        ("/data/photos/x!/../../secret", False),
        ("/data/photos/a\0.png", False),
        ("FILE:///etc/passwd", False),
        ("FILE:///data/photos/a.png", True),
        ("/DATA/photos/a.png", False),
        ("~/a.png", False),
        ("/data/other.zip!//data/photos/a.png", False),
        ("s3://bucket/public/a.png", True),
        ("s3://bucket/public/../private/a.png", False),
        ("s3://bucket/public/%2e%2e/private/a.png", False),
        ("s3://bucket/publicity/a.png", False),
        ("s3://bucket/public", True),
        ("s3://bucket/public/x::file:///etc/passwd", False),
        ("s3://bucket/public/a%00.png", False),
        ("/data/photos/a::b.png", True),
        ("S3://bucket/public/a.png", True),
        ("https://example.org/a.png", False),
        ("simplecache::s3://bucket/public/a.png", False),
    ],
)
def test_what_lies_below_a_root(uri: str, allowed: bool) -> None:
    assert Roots(["/data/photos", "s3://bucket/public"]).allow(uri) is allowed


def test_no_roots_allow_nothing_and_none_allows_all() -> None:
    assert not Roots([]).allow("/data/a.png")
    assert Roots(None).allow("s3://anything/at/all")


def test_a_source_outside_of_the_roots_is_refused_before_there_is_a_job(world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies outside of what this server may read"):
        world.indexer.begin([str(tmp_path)], COLLECTION, roots=[str(tmp_path / "inside")])
    assert world.catalog.jobs() == []


# --- uploads -------------------------------------------------------------------------------------------


def test_uploads_answer_line_by_line_and_are_embedded(world: World) -> None:
    uploads = [
        Upload(picture(1), "one", "a caption", {"year": 2000}),
        Upload(picture(2)),
        Upload(b"", "nothing"),
        Upload(picture(3), "one"),
        Upload(b"no picture", "text"),
        Upload(picture(4), "nul \0"),
    ]
    job, answers = world.indexer.add(COLLECTION, uploads)
    assert [(line.index, line.status, line.reason) for line in answers] == [
        (0, "pending", None),
        (1, "pending", None),
        (2, "failed", "empty"),
        (3, "failed", "duplicate"),
        (4, "pending", None),
        (5, "failed", "unsupported"),
    ]
    world.indexer.run_pending()
    assert problems(world, ["one", answers[1].id]) == []
    assert len(answers[1].id) == 64
    one = world.catalog.image(COLLECTION, "one")
    assert (one.caption, one.metadata, one.uri) == ("a caption", {"year": 2000}, f"blob:{one.sha256}")
    progress = world.catalog.job_progress(job.id)
    assert (progress.indexed, progress.failed, progress.state) == (2, 4, "done")

    _, again = world.indexer.add(COLLECTION, uploads[:1])
    assert [line.status for line in again] == ["unchanged"]


# --- estimate ------------------------------------------------------------------------------------------


def test_the_estimate_is_the_arithmetic_of_the_shapes_and_reads_no_picture(world: World) -> None:
    names = world.draw(10)
    shape = Shape(num_query_tokens=4, joint_dim=8, patch_bytes=5 * 6 * 2)
    listed = count([str(world.pictures)], copy=True)
    guess = estimate(*listed, shape, 16_000, world.segments.folder)
    sizes = sum((world.pictures / name).stat().st_size for name in names)
    assert guess.images == 10
    assert guess.patches == 10 * 5 * 6 * 2
    assert guess.tokens == guess.index == 10 * 4 * 8 * 2
    assert guess.originals == sizes
    assert guess.fits
    assert count([str(world.pictures)], copy=False) == (10, 0)
    assert world.models.loads == 0
