"""What a source names twice is said and counted, and every caption of a picture is kept."""

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


def test_every_caption_of_a_picture_is_kept(world: World, tmp_path: Path) -> None:
    rows = [{"uri": "1.png", "id": "x", "caption": f"caption {number}"} for number in range(5)]
    run(world, manifest(tmp_path / "m", *rows[:2], {"uri": "2.png", "id": "y"}, *rows[2:]))
    found = {image.image_id: image.caption for image in world.live()}
    assert found == {"x": "\n".join(f"caption {number}" for number in range(5)), "y": None}


def test_a_second_member_of_a_name_is_said(world: World, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, pytest.warns(UserWarning):
        for number in range(3):
            archive.writestr("same.png", picture(number))
    job = run(world, tmp_path / "a.zip")
    assert reasons(world, job) == ["duplicate", "duplicate"]
    assert len(world.live()) == 1
