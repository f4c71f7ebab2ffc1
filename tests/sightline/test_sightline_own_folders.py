"""No folder of an installation is ever taken for pictures."""

from __future__ import annotations

from pathlib import Path

from sightline.wiring import open_installation
from tests.sightline.conftest import save, toy_settings


def draw(folder: Path, count: int) -> None:
    shades = ("red", "blue", "green", "purple", "white")
    for number in range(count):
        save(folder, f"{number}", shades[number % 5], shades[number // 5])


def test_a_data_folder_inside_of_the_pictures_is_never_indexed(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    draw(photos, 12)
    indexed = []
    for _ in range(3):
        with open_installation(toy_settings(photos / "sightline-data"), inline=True) as house:
            house.collections.create("pictures")
            job = house.indexer.index([str(photos)], "pictures")
            indexed.append(house.indexer.wait(job.id, timeout=60).indexed)
    assert indexed == [12, 0, 0]
