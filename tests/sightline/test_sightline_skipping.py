"""What is no picture is counted by kind and is no failure; what is broken is told of once."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from sightline.settings import Settings
from sightline.wiring import Installation
from tests.sightline.conftest import Run, save

MOVIE = b"\0\0\0\x14ftypqt  " + bytes(64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As a telephone leaves it: a picture, a film of it, notes, an archive, and a picture that was cut."""
    folder = tmp_path / "phone"
    whole = save(folder, "a", "red").read_bytes()
    (folder / "a.MOV").write_bytes(MOVIE)
    (folder / "a.aae").write_text("<plist/>")
    (folder / "b.txt").write_text("notes")
    with zipfile.ZipFile(folder / "old.zip", "w") as archive:
        archive.writestr("c.png", whole)
        archive.writestr("c.mov", MOVIE)
        archive.writestr("text.jpg", "no picture")
    (folder / "cut.png").write_bytes(whole[:40])
    return folder


def run(services: Installation, source: Path) -> tuple[int, int, int, dict[str, int], int]:
    """New, unchanged and failed images, what was skipped, and what was as broken as before."""
    services.collections.create("pictures")
    job = services.indexer.index([str(source)], "pictures")
    done = services.indexer.wait(job.id, timeout=60)
    job = services.catalog.job(job.id)
    return done.indexed, done.unchanged, done.failed, job.skipped, job.known_broken


def test_other_kinds_are_counted_and_a_broken_picture_fails_until_it_is_known(
    services: Installation, folder: Path
) -> None:
    kinds = {"video": 1, "text": 2, "archive": 1}
    assert run(services, folder) == (1, 0, 1, kinds, 0)
    assert run(services, folder) == (0, 1, 0, kinds, 1)
    assert run(services, folder) == (0, 1, 0, kinds, 1)
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:50])
    assert run(services, folder) == (0, 1, 1, kinds, 0)
    save(folder, "cut", "blue")
    assert run(services, folder) == (1, 1, 0, kinds, 0)


def test_the_first_job_of_a_broken_picture_tries_it_again(services: Installation, folder: Path) -> None:
    services.collections.create("pictures")
    first = services.indexer.index([str(folder)], "pictures")
    assert services.indexer.wait(first.id, timeout=60).failed == 1
    assert run(services, folder)[-1] == 1
    services.indexer.retry(first.id)
    assert services.indexer.wait(first.id, timeout=60).failed == 1


def test_members_of_an_archive_are_skipped_by_kind_too(services: Installation, folder: Path) -> None:
    assert run(services, folder / "old.zip") == (1, 0, 1, {"video": 1}, 0)


def test_what_somebody_names_is_not_skipped(services: Installation, folder: Path) -> None:
    assert run(services, folder / "b.txt") == (0, 0, 1, {}, 0)


def test_the_command_says_what_was_skipped_and_succeeds(
    sightline: Run, services: Installation, settings: Settings, folder: Path
) -> None:
    run(services, folder)
    (folder / "a.png").unlink()
    done = sightline("index", str(folder), "-c", "pictures", "--no-wait")
    assert done.code == 0
    assert "skipped: 2 text files, 1 archive, 1 video; name archives" in done.stdout
    assert "1 as broken as before" in done.stdout
