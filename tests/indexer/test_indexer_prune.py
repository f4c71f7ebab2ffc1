"""Pruning: a source takes along what it no longer has, and nothing of another, or that is only unreadable."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from sightline.errors import ConflictError, ImageRejected, InputError
from sightline.indexer.cloud import lies_elsewhere
from sightline.indexer.plan import PruneLimit
from sightline.indexer.registration import may_hide_more
from sightline.store.work_records import Pruning, Registration
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


def fill(folder: Path, *numbers: int) -> Path:
    """Pictures ``<number>.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder


def ids(world: World) -> list[str]:
    return sorted(image.image_id for image in world.live())


def reasons(world: World, job: Any) -> list[str]:
    return sorted(line.reason for line in world.catalog.job_errors(job.id))


@pytest.fixture
def both(world: World, tmp_path: Path) -> tuple[Path, Path]:
    """Two sources of three pictures each, indexed."""
    a, b = fill(tmp_path / "a", 1, 2, 3), fill(tmp_path / "b", 4, 5, 6)
    run(world, a, b)
    return a, b


EVERYTHING = [f"{number}.png" for number in range(1, 7)]


def test_an_unmounted_source_beside_another_loses_nothing(world: World, both: tuple[Path, Path]) -> None:
    a, b = both
    for file in a.iterdir():
        file.unlink()
    run(world, a, b, prune=True)
    assert ids(world) == EVERYTHING


def test_a_source_that_holds_only_a_note_loses_nothing(world: World, both: tuple[Path, Path]) -> None:
    a, b = both
    for file in a.iterdir():
        file.unlink()
    (a / "NOT_MOUNTED.txt").write_text("The disk is not mounted here.")
    run(world, a, b, prune=True)
    assert ids(world) == EVERYTHING
    run(world, a, prune=True)
    assert ids(world) == EVERYTHING


def test_pruning_one_source_spares_what_came_from_another(world: World, both: tuple[Path, Path]) -> None:
    _, b = both
    run(world, b, prune=True)
    assert ids(world) == EVERYTHING


def test_what_came_after_the_source_was_looked_at_stays(world: World, tmp_path: Path) -> None:
    """Another job of the same source brings it while this one is about to prune."""
    photos = fill(tmp_path / "photos", *range(10))
    run(world, photos)
    (photos / "3.png").unlink()

    def before_pruning(found: Pruning) -> bool:
        run(world, fill(photos, 20))
        return True

    run(world, photos, prune=True, prune_limit="0", confirm=before_pruning)
    assert ids(world) == sorted(f"{number}.png" for number in (*range(10), 20) if number != 3)


def test_what_cannot_be_listed_is_not_pruned_and_the_others_are(world: World, tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", *range(10)), fill(tmp_path / "b", *range(10, 20))
    run(world, a, b)
    for folder, number in ((a, 3), (b, 13)):
        (folder / f"{number}.png").unlink()
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"no archive")
    job = run(world, a, broken, tmp_path / "nowhere", prune=True)
    assert ids(world) == sorted(f"{number}.png" for number in range(20) if number != 3)
    assert reasons(world, job) == ["not-pruned"] * 2 + ["unreadable"] * 2
    assert world.catalog.job_progress(job.id).deleted == 1


def test_a_part_that_cannot_be_read_keeps_all_of_its_source(world: World, tmp_path: Path) -> None:
    photos, elsewhere = fill(tmp_path / "photos", *range(9)), fill(tmp_path / "elsewhere", *range(20, 29))
    run(world, photos, elsewhere)
    (photos / "0.png").unlink()
    (elsewhere / "20.png").unlink()
    # A folder whose path is longer than the system takes cannot be opened, even by root.
    descriptor = os.open(photos, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=descriptor)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    os.close(descriptor)
    job = run(world, photos, elsewhere, prune=True)
    assert "0.png" in ids(world)
    assert "20.png" not in ids(world)
    assert reasons(world, job) == ["not-pruned", "unreadable"]


def test_a_link_to_a_disk_that_is_not_there_keeps_all_of_its_source(world: World, tmp_path: Path) -> None:
    photos, disk = fill(tmp_path / "photos", *range(9)), fill(tmp_path / "disk", 20)
    (photos / "disk").symlink_to(disk)
    run(world, photos)
    disk.rename(tmp_path / "unmounted")
    (photos / "0.png").unlink()
    job = run(world, photos, prune=True, prune_limit="100%")
    assert {"0.png", "disk/20.png"} <= set(ids(world))
    assert reasons(world, job) == ["not-pruned", "unreadable"]
    assert reasons(world, run(world, f"{photos}/*.png", prune=True)) == [], "no such link can match"


def test_a_rejection_by_the_disk_hides_more_and_one_by_the_picture_does_not() -> None:
    def rejected(cause: Exception | None) -> ImageRejected:
        try:
            raise ImageRejected("unreadable", "It cannot be read.") from cause
        except ImageRejected as error:
            return error

    assert may_hide_more(rejected(PermissionError()))
    assert may_hide_more(rejected(OSError(5, "Input/output error")))
    assert not may_hide_more(rejected(FileNotFoundError()))
    assert not may_hide_more(rejected(None))


def test_what_lies_in_the_cloud_is_not_gone(world: World, tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", *range(10))
    run(world, photos)
    for number in (1, 2):
        (photos / f"{number}.png").rename(photos / f".{number}.png.icloud")
    (photos / "3.png").unlink()
    job = run(world, photos, prune=True)
    assert ids(world) == sorted(f"{number}.png" for number in range(10) if number != 3)
    assert reasons(world, job) == ["offline", "offline"]


@pytest.mark.parametrize(
    ("state", "elsewhere"),
    [
        ({"st_flags": 0x40000000}, True),
        ({"st_flags": 0x40}, False),
        ({"st_file_attributes": 0x400000}, True),
        ({"st_file_attributes": 0x1020}, True),
        ({"st_file_attributes": 0x20}, False),
        ({"st_blocks": 0, "st_size": 9}, False),
    ],
)
def test_placeholders_are_known_by_the_marks_of_their_systems(state: dict[str, int], elsewhere: bool) -> None:
    assert lies_elsewhere(SimpleNamespace(**state)) is elsewhere


@pytest.mark.parametrize(
    ("limit", "images", "most"),
    [
        (None, 10, 2), (None, 4, 0), (None, 499, 99), (None, 1_000_000, 100),
        ("7", 4, 7), ("0", 100, 0), ("50%", 9, 4), ("100%", 9, 9), ("12.5 %", 800, 100),
    ],
)  # fmt: skip
def test_a_limit_is_a_number_or_a_share(limit: str | None, images: int, most: int) -> None:
    assert PruneLimit.parse(limit).most(images) == most


@pytest.mark.parametrize("limit", ["", "%", "-1", "101%", "many", "1e3", "1.5", "nan%"])
def test_other_limits_are_refused_before_anything_happens(world: World, tmp_path: Path, limit: str) -> None:
    with pytest.raises(InputError, match="prune limit"):
        run(world, tmp_path, prune=True, prune_limit=limit)
    assert world.catalog.jobs() == []


def test_beyond_the_limit_nothing_of_that_source_goes_and_the_rest_of_the_run_stands(
    world: World, both: tuple[Path, Path]
) -> None:
    a, b = both
    (a / "1.png").unlink()
    fill(a, 9)
    fill(b, 10)
    job = run(world, a, b, prune=True)
    assert ids(world) == sorted([*EVERYTHING, "9.png", "10.png"])
    [line] = world.catalog.job_errors(job.id)
    assert (line.reason, line.id) == ("not-pruned", f"(prune) {a}")
    for part in (str(a), "1 of the 3 pictures", "--prune-limit 1"):
        assert part in line.detail
    job = run(world, a, b, prune=True, prune_limit="1")
    assert ids(world) == sorted([*EVERYTHING[1:], "9.png", "10.png"])
    assert reasons(world, job) == []


def test_an_empty_source_goes_only_when_all_of_it_was_meant(world: World, both: tuple[Path, Path]) -> None:
    a, b = both
    for file in a.iterdir():
        file.unlink()
    asked: list[Pruning] = []

    def no(found: Pruning) -> bool:
        asked.append(found)
        return False

    for limit in (None, "99%", "1000"):
        job = run(world, a, b, prune=True, prune_limit=limit, confirm=no)
        assert ids(world) == EVERYTHING
        assert reasons(world, job) == ["not-pruned"]
    assert asked == [Pruning(str(a), 3, 3, ("1.png", "2.png", "3.png"))] * 3
    run(world, a, b, prune=True, prune_limit="100%", confirm=no)
    assert ids(world) == EVERYTHING[3:]
    assert len(asked) == 3


def test_who_says_yes_prunes_beyond_the_limit(world: World, both: tuple[Path, Path]) -> None:
    a, _ = both
    (a / "1.png").unlink()
    (a / "2.png").unlink()
    run(world, a, prune=True, confirm=lambda found: found.gone == 2)
    assert ids(world) == EVERYTHING[2:]


def test_no_yes_prunes_what_was_not_listed_whole(
    world: World, both: tuple[Path, Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("x.png", picture(50))
    run(world, tmp_path / "z.zip")
    (tmp_path / "z.zip").write_bytes(b"broken")
    run(world, both[0], tmp_path / "z.zip", prune=True, prune_limit="100%", confirm=lambda found: True)
    assert "z.zip!/x.png" in ids(world)


def test_images_of_unknown_source_are_never_pruned(world: World, tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", *range(3))
    job = world.catalog.create_job(world.catalog.collection(COLLECTION).id, "index", {})
    data = picture(77)
    (tmp_path / "before.png").write_bytes(data)
    before = Registration("before.png", hashlib.sha256(data).hexdigest(), str(tmp_path / "before.png"), 1)
    world.catalog.register(job.id, [before], batch_size=4)
    world.catalog.seal_job(job.id)
    world.indexer.run_pending()
    run(world, photos, prune=True, prune_limit="100%")
    assert "before.png" in ids(world)


def test_pruning_a_part_of_a_source_takes_nothing_of_the_whole(world: World, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    fill(photos / "2019", 1, 2)
    fill(photos, 3)
    run(world, photos)
    (photos / "2019" / "1.png").unlink()
    run(world, photos / "2019", prune=True, prune_limit="100%")
    assert ids(world) == ["2.png", "2019/1.png", "2019/2.png", "3.png"]


def test_a_picture_that_two_sources_have_stays_while_one_of_them_has_it(world: World, tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", 1, 2), fill(tmp_path / "b", 1, 3)
    run(world, a, b)
    assert {image.image_id: image.source for image in world.live()}["1.png"] == str(a)
    assert world.catalog.job_progress(run(world, a, b).id).refreshed == 0
    (a / "1.png").unlink()
    run(world, a, b, prune=True, prune_limit="100%")
    assert ids(world) == ["1.png", "2.png", "3.png"]


def test_an_id_that_another_source_took_spares_no_picture_of_its_own(world: World, tmp_path: Path) -> None:
    """The second source lists ``1.png`` with other bytes: that is no sign that the first still has it."""
    a, b = fill(tmp_path / "a", 1), tmp_path / "b"
    run(world, a)
    b.mkdir()
    (b / "1.png").write_bytes(picture(9))
    (a / "1.png").unlink()
    fill(a, 2)
    job = run(world, b, a, prune=True, prune_limit="100%")
    assert ids(world) == ["2.png"]
    assert reasons(world, job) == ["id_taken"]


def test_a_preview_says_what_would_go_and_changes_nothing(world: World, both: tuple[Path, Path]) -> None:
    a, b = both
    (a / "1.png").unlink()
    fill(b, 10)
    before = (world.catalog.version(COLLECTION), world.live(), world.catalog.jobs())
    previews = world.indexer.preview([str(a), str(b)], COLLECTION)
    assert [(one.source, one.listed, one.new, one.images, one.gone) for one in previews] == [
        (str(a), 2, 0, 3, ("1.png",)),
        (str(b), 4, 1, 3, ()),
    ]
    assert [one.refused is None for one in previews] == [False, True]
    assert world.indexer.preview([str(a)], COLLECTION, prune_limit="1")[0].refused is None
    assert (world.catalog.version(COLLECTION), world.live(), world.catalog.jobs()) == before
    moved = a.rename(a.parent / "moved")
    [preview] = world.indexer.preview([str(moved)], COLLECTION, moved_from=str(a))
    assert (preview.images, preview.gone, preview.new) == (3, ("1.png",), 0)
    [preview] = world.indexer.preview([str(a)], COLLECTION)
    assert preview.refused is not None
    assert "could be read" in preview.refused


def test_nothing_is_pruned_twice_or_beyond_what_was_agreed(world: World, both: tuple[Path, Path]) -> None:
    a, _ = both
    job = world.indexer.begin([str(a)], COLLECTION, prune=True)
    found = world.catalog.prunable(job.id, str(a))
    assert (found.images, found.gone) == (3, 3)
    with pytest.raises(ConflictError, match="more than the 2"):
        world.catalog.prune(job.id, str(a), most=2)
    assert ids(world) == EVERYTHING
    assert world.catalog.prune(job.id, str(a), most=3) == 3
    assert world.catalog.prunable(job.id, str(a)) == Pruning(str(a), 0, 0, ())


class Failing(MemoryFileSystem):
    """A remote file system of which one folder cannot be listed at the moment."""

    protocol = "oci"
    broken = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.replace("oci://", "memory://"))
        return stripped

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        if self.broken and path.rstrip("/").endswith("deep"):
            raise OSError("It does not answer.")
        return super().ls(path, detail=detail, **options)


def test_a_remote_folder_that_cannot_be_listed_keeps_all_of_its_source(world: World) -> None:
    fsspec.register_implementation("oci", Failing, clobber=True)
    disk = fsspec.filesystem("oci")
    disk.pipe({f"/bucket/{number}.png": picture(number) for number in range(9)})
    disk.pipe({"/bucket/deep/9.png": picture(9)})
    run(world, "oci://bucket")
    assert len(ids(world)) == 10
    disk.broken = True
    disk.rm("/bucket/0.png")
    job = run(world, "oci://bucket", prune=True, prune_limit="100%")
    assert reasons(world, job) == ["not-pruned", "unreadable"]
    assert len(ids(world)) == 10
    disk.broken = False
    run(world, "oci://bucket", prune=True)
    assert len(ids(world)) == 9


def test_what_may_lie_in_a_folder_that_is_passed_over_is_not_pruned(world: World, tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", 1, 2)
    fill(photos / "app", 3)
    run(world, photos)
    (photos / "app" / "catalog.sqlite").touch()
    (photos / "app" / "thumbnails").mkdir()
    job = run(world, photos, prune=True, prune_limit="100%")
    assert ids(world) == ["1.png", "2.png", "app/3.png"]
    assert reasons(world, job) == ["not-pruned"]


def test_a_limit_of_thousands_of_digits_is_one_sentence() -> None:
    with pytest.raises(InputError, match="is neither a number nor a share"):
        PruneLimit.parse("9" * 5000)
