"""From ``index --prune`` to the trash and back, by commands alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.settings import Settings
from sightline.wiring import open_installation
from tests.sightline.conftest import Ended, Run, index, save

COLOURS = {"a": "red", "b": "blue", "c": "green"}


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    """A folder of three pictures, indexed and folded."""
    folder = tmp_path / "photos"
    for name, colour in COLOURS.items():
        save(folder, name, colour, "white")
    with open_installation(settings, inline=True) as services:
        index(services, folder)
        services.builder.fold("pictures")
    return folder


def search(sightline: Run) -> list[tuple[str, float]]:
    done = sightline("search", "red left", "-c", "pictures", "--json")
    return [(hit["id"], hit["score"]) for hit in done.answer["results"]]


def prune(sightline: Run, folder: Path, *options: str) -> Ended:
    return sightline("index", str(folder), "-c", "pictures", "--prune", "--prune-limit", "1", *options)


def test_a_pruned_picture_is_restored_and_found_as_before(sightline: Run, folder: Path) -> None:
    before = search(sightline)
    assert before[0][0] == "a.png"
    (folder / "a.png").unlink()
    done = prune(sightline, folder)
    assert (done.code, done.stdout.splitlines()[0]) == (
        0,
        "0 indexed, 2 unchanged, 0 replaced, 1 moved to the trash, 0 failed",
    )
    assert "sightline trash list --collection pictures" in done.stderr
    again = prune(sightline, folder, "--json").answer
    assert (again["deleted"], again["unchanged"], again["total"]) == (0, 2, 2), "it is in the trash already"
    assert {name for name, _ in search(sightline)} == {"b.png", "c.png"}
    [row] = sightline("trash", "list", "-c", "pictures", "--json").answer["images"]
    assert (row["id"], row["uri"]) == ("a.png", str(folder / "a.png"))
    assert sightline("trash", "list", "--json").answer["images"] == [{"collection": "pictures", "images": 1}]
    assert sightline("trash", "restore", "-c", "pictures", "a.png").stdout == "1 restored\n"
    assert search(sightline) == before
    assert prune(sightline, folder, "--json").answer["deleted"] == 1, "the source has it as little as before"


def test_an_id_that_the_source_gave_to_another_picture_stays_in_the_trash(
    sightline: Run, settings: Settings, folder: Path
) -> None:
    (folder / "a.png").unlink()
    prune(sightline, folder)
    save(folder, "a", "purple", "yellow")
    with open_installation(settings, inline=True) as services:
        index(services, folder)
    done = sightline("trash", "restore", "-c", "pictures", "a.png")
    assert done.code == 4
    assert "a live image has the id 'a.png' by now: delete that one first" in done.stdout
    refused = sightline("trash", "restore", "-c", "pictures", "--all", "--json")
    assert (refused.code, refused.answer["restored"]) == (4, 0)
    assert [one["reason"] for one in refused.answer["refused"]] == ["id_taken"]
    deleted = sightline("delete", "-c", "pictures", "--id", "a.png").stdout
    assert (
        "1 moved to the trash; to have them back: sightline trash restore --collection pictures ID" in deleted
    )
    newest = sightline("trash", "restore", "-c", "pictures", "a.png", "--json").answer
    assert newest["ids"] == ["a.png"]
    assert len(sightline("trash", "list", "-c", "pictures", "--json").answer["images"]) == 1
