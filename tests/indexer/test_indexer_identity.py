"""Whose an id is: nothing is replaced by another source unasked, and what moved is found at its new place."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sightline.errors import InputError
from sightline.indexer.uploads import Upload
from sightline.store.records import Registration
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


def test_the_sentence_names_both_sources_and_both_ways_out(world: World, tmp_path: Path) -> None:
    old, new = fill(tmp_path / "2019", beach=1), fill(tmp_path / "2020", beach=2)
    [line] = world.catalog.job_errors(run(world, old, new).id)
    for part in (f"{old};", f"{new},", "--id-prefix P", f"--moved-from {old}", "beach.png"):
        assert part in line.detail


def test_a_prefix_keeps_equal_names_apart(world: World, tmp_path: Path) -> None:
    old, new = fill(tmp_path / "2019", beach=1), fill(tmp_path / "2020", beach=2)
    run(world, old)
    run(world, new, id_prefix="2020/")
    assert uris(world) == {"beach.png": str(old / "beach.png"), "2020/beach.png": str(new / "beach.png")}
    (new / "bad.png").write_bytes(b"")
    job = run(world, new, id_prefix="2020/", prune=True)
    assert reasons(world, job) == {"2020/bad.png": "empty"}
    assert world.catalog.job_progress(job.id).unchanged == 1
    with pytest.raises(InputError, match="part"):
        run(world, new, id_prefix="../")


def test_a_source_that_was_moved_and_changed_is_taken_over_when_it_is_said(
    world: World, tmp_path: Path
) -> None:
    old = fill(tmp_path / "old", a=1, b=2, c=3)
    run(world, old)
    new = old.rename(tmp_path / "new")
    (new / "a.png").write_bytes(picture(10))
    (new / "c.png").unlink()
    job = run(world, new, moved_from=str(old))
    progress = world.catalog.job_progress(job.id)
    assert (progress.replaced, progress.unchanged, progress.refreshed, progress.failed) == (1, 1, 1, 0)
    assert {image.source for image in world.live()} == {str(new)}
    assert uris(world)["a.png"] == str(new / "a.png")
    run(world, new, prune=True, prune_limit="50%")
    assert sorted(uris(world)) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("sources", "old", "said"),
    [
        (["a"], "nowhere", "came from .*nowhere; its sources are .*/a"),
        (["a", "b"], "a", "one source at a time"),
    ],
)
def test_what_was_never_a_source_cannot_have_moved(
    world: World, tmp_path: Path, sources: list[str], old: str, said: str
) -> None:
    run(world, fill(tmp_path / "a", a=1))
    fill(tmp_path / "b", b=2)
    with pytest.raises(InputError, match=said):
        run(world, *(tmp_path / name for name in sources), moved_from=str(tmp_path / old))


def test_a_changed_file_that_is_named_by_itself_is_no_other_picture(world: World, tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", a=1, b=2)
    run(world, folder)
    (folder / "a.png").write_bytes(picture(10))
    job = run(world, folder / "a.png")
    assert world.catalog.job_progress(job.id).replaced == 1
    job = run(world, folder, prune=True)
    assert world.catalog.job_progress(job.id).unchanged == 2
    assert {image.source for image in world.live()} == {str(folder)}


def test_what_waits_to_be_embedded_is_not_replaced_either(world: World, tmp_path: Path) -> None:
    old, new = fill(tmp_path / "2019", beach=1), fill(tmp_path / "2020", beach=2)
    world.indexer.index([str(old)], COLLECTION)
    run(world, new)
    assert uris(world) == {"beach.png": str(old / "beach.png")}


def test_an_upload_replaces_uploads_and_what_is_of_unknown_source_only(world: World, tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", a=1)
    run(world, folder)
    before(world, tmp_path / "gone" / "old.png", 3)
    world.indexer.add(COLLECTION, [Upload(picture(5), "mine")])
    world.indexer.run_pending()
    uploads = [Upload(picture(10), "a.png"), Upload(picture(11), "mine"), Upload(picture(12), "old.png")]
    job, answers = world.indexer.add(COLLECTION, uploads)
    assert [(line.status, line.reason) for line in answers] == [
        ("failed", "id_taken"), ("pending", None), ("pending", None),
    ]  # fmt: skip
    assert answers[0].detail is not None
    assert str(folder) in answers[0].detail
    world.indexer.run_pending()
    assert uris(world)["a.png"] == str(folder / "a.png")
    assert world.catalog.job_progress(job.id).replaced == 2
    _, [line] = world.indexer.add(COLLECTION, [Upload(picture(1), "a.png")])
    assert line.status == "unchanged", "the same bytes are the same picture"


def test_a_folder_replaces_no_upload_unless_it_is_said(world: World, tmp_path: Path) -> None:
    world.indexer.add(COLLECTION, [Upload(picture(1), "a.png")])
    world.indexer.run_pending()
    folder = fill(tmp_path / "photos", a=2)
    assert list(reasons(world, run(world, folder)).values()) == ["id_taken"]
    run(world, folder, moved_from="upload:")
    assert uris(world) == {"a.png": str(folder / "a.png")}


def before(world: World, path: Path, number: int) -> None:
    """A picture as versions before this one left it: without a source."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = picture(number)
    path.write_bytes(data)
    job = world.catalog.create_job(world.catalog.collection(COLLECTION).id, "index", {})
    item = Registration(path.name, hashlib.sha256(data).hexdigest(), str(path), len(data))
    world.catalog.register(job.id, [item], batch_size=4)
    world.catalog.seal_job(job.id)
    world.indexer.run_pending()


def test_what_came_before_sources_were_kept_is_of_the_folder_that_it_lies_in(
    world: World, tmp_path: Path
) -> None:
    folder, other = fill(tmp_path / "photos", a=1), fill(tmp_path / "other", a=2)
    before(world, folder / "a.png", 1)
    assert list(reasons(world, run(world, other)).values()) == ["id_taken"]
    (folder / "a.png").write_bytes(picture(3))
    job = run(world, folder)
    assert world.catalog.job_progress(job.id).replaced == 1
    assert [image.source for image in world.live()] == [str(folder)]


def test_what_is_of_unknown_source_can_be_claimed(world: World, tmp_path: Path) -> None:
    before(world, tmp_path / "gone" / "a.png", 1)
    folder = fill(tmp_path / "photos", a=2)
    [line] = world.catalog.job_errors(run(world, folder).id)
    assert "--moved-from unknown:" in line.detail
    run(world, folder, moved_from="unknown:")
    assert uris(world) == {"a.png": str(folder / "a.png")}


def test_bytes_of_a_copy_that_was_refused_are_not_kept_for_ever(world: World, tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", a=1)
    run(world, folder)
    world.indexer.add(COLLECTION, [Upload(picture(2), "a.png")])
    refused = hashlib.sha256(picture(2)).hexdigest()
    assert world.catalog.releasable_blobs(time.time() + 9, 10) == [refused]


@pytest.mark.parametrize("prefix", ["", "p/"])
def test_names_that_no_address_keeps_fail_alone_and_are_not_pruned(
    world: World, tmp_path: Path, prefix: str
) -> None:
    folder = fill(tmp_path / "photos", **{f"a{number}": number for number in range(6)})
    bad = folder / "line\nbreak.png"
    bad.write_bytes(picture(20))
    job = run(world, folder, prune=True, id_prefix=prefix)
    assert reasons(world, job) == {f"{prefix}line\nbreak.png": "unsupported"}
    assert len(uris(world)) == 6


def test_an_id_from_before_that_no_address_keeps_stays_until_it_is_deleted(
    world: World, tmp_path: Path
) -> None:
    folder = fill(tmp_path / "photos", **{f"a{number}": number for number in range(6)})
    run(world, folder)
    key = world.live()[0].key
    rename = text("UPDATE images SET image_id = :name WHERE key = :key").bindparams(name="a\n0.png", key=key)
    world.catalog.database.write(lambda connection: connection.execute(rename))
    (folder / "a0.png").rename(folder / "a\n0.png")
    run(world, folder, prune=True)
    assert "a\n0.png" in uris(world)
    collection = world.catalog.collection(COLLECTION)
    assert world.catalog.delete_images(collection.id, ids=["a\n0.png"]) == 1
