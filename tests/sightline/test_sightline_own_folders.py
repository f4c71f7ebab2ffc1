"""No folder of an installation is ever taken for pictures."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from sightline.errors import SourceError
from sightline.indexer.items import SKIPPED
from sightline.indexer.sources.listing import iter_source
from sightline.settings import Settings
from sightline.wiring import open_installation
from tests.sightline.conftest import picture, save, toy_settings

SHADES = ("red", "blue", "green", "purple", "white")


def draw(folder: Path, count: int) -> None:
    for number in range(count):
        save(folder, f"{number}", SHADES[number % 5], SHADES[number // 5])


def listed(source: Path | str, *own: str) -> list[str]:
    found = iter_source(str(source), own=own)
    return [item.image_id for item in found if getattr(item, "reason", None) != SKIPPED]


def indexed(settings: Settings, source: Path, *, copy: bool = False) -> int:
    """New pictures of one more run."""
    with open_installation(settings, inline=True) as house:
        house.collections.create("pictures")
        job = house.indexer.index([str(source)], "pictures", copy=copy)
        counts = house.indexer.wait(job.id, timeout=60)
        assert (counts.failed, counts.total) == (0, 12)
        return counts.indexed


@pytest.mark.parametrize("copy", [False, True])
def test_a_data_folder_inside_of_the_pictures_is_never_indexed(tmp_path: Path, copy: bool) -> None:
    photos = tmp_path / "photos"
    draw(photos, 12)
    settings = toy_settings(photos / "sightline-data")
    assert [indexed(settings, photos, copy=copy) for _ in range(3)] == [12, 0, 0]


def test_folders_of_the_settings_are_not_indexed_wherever_they_lie(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    draw(photos, 12)
    empty = toy_settings(tmp_path / "data")
    settings = empty.model_copy(
        update={
            "segments": photos / "cache",
            "generations": photos / "deep" / "index",
            "originals": str(photos / "kept"),
            "broker": replace(empty.broker, folder=photos / "messages"),
        }
    )
    assert [indexed(settings, photos, copy=True) for _ in range(3)] == [12, 0, 0]
    assert len(list((photos / "kept").rglob("*.webp"))) == 12


def shard(folder: Path, ending: str = "") -> None:
    """A blob as a store of originals keeps it."""
    data = picture("red").tobytes()
    digest = hashlib.sha256(data).hexdigest()
    path = folder / digest[:2] / f"{digest}{ending}"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)


def foreign(photos: Path) -> None:
    """Folders of other installations among three pictures: marked ones, and two of versions without marks."""
    draw(photos, 2)
    draw(photos / "mine" / "originals", 1)
    marked = photos / "marked"
    draw(marked / "inside", 3)
    (marked / ".sightline-installation").write_text("{}")
    old = photos / "sightline-data"
    draw(old / "originals" / "thumbnails", 3)
    (old / "catalog.sqlite").write_bytes(b"")


MINE = ["0.png", "1.png", "mine/originals/0.png"]


def test_folders_of_other_installations_are_passed_over(tmp_path: Path) -> None:
    foreign(tmp_path)
    shard(tmp_path / "kept" / "originals")
    shard(tmp_path / "kept" / "thumbnails", ".webp")
    assert listed(tmp_path) == MINE
    assert listed(f"{tmp_path}/**/*.png") == MINE
    assert listed(f"{tmp_path}/*/*/*") == ["mine/originals/0.png"]
    (tmp_path / "link").symlink_to(tmp_path / "marked")
    assert listed(tmp_path) == MINE


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tar.gz"])
def test_archives_of_them_are_passed_over_too(tmp_path: Path, kind: str) -> None:
    photos = tmp_path / "photos"
    foreign(photos)
    files = sorted((path for path in photos.rglob("*") if path.is_file()), reverse=True)
    if kind == "a.zip":
        with zipfile.ZipFile(tmp_path / kind, "w") as archive:
            for path in files:
                archive.write(path, path.relative_to(tmp_path))
    else:
        with tarfile.open(tmp_path / kind, "w:gz" if kind.endswith("gz") else "w") as packed:
            for path in files:
                packed.add(path, path.relative_to(tmp_path))
    assert sorted(listed(tmp_path / kind)) == [f"{kind}!/photos/{name}" for name in MINE]


def test_remote_ones_are_passed_over_too() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    ours = ("data/catalog.sqlite", "data/originals/b.png", "kept/originals/ab/d.png")
    paths = ("a.png", "m/.sightline-installation", "m/in/c.png", *ours)
    memory.pipe({f"/own-test/{path}": b"x" for path in paths})
    url = "memory://own-test"
    found = iter_source(url, allow_remote=True, own=["memory:///own-test/kept/originals"])
    assert [item.image_id for item in found] == ["a.png"]


def test_whoever_names_one_is_told_in_a_sentence(tmp_path: Path) -> None:
    foreign(tmp_path)
    for folder in (tmp_path / "marked", tmp_path / "sightline-data"):
        with pytest.raises(SourceError, match="folder of a Sightline installation"):
            listed(folder)
    with pytest.raises(SourceError, match="folder of a Sightline installation"):
        listed(tmp_path / "mine", str(tmp_path / "mine"))


def test_pictures_beside_a_catalog_or_in_a_folder_that_is_called_originals_are_listed(tmp_path: Path) -> None:
    save(tmp_path / "originals" / "ab", "red", "red")
    save(tmp_path / "thumbnails", "blue", "blue")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "catalog.sqlite").write_bytes(b"")
    assert listed(tmp_path) == ["originals/ab/red.png", "thumbnails/blue.png"]
