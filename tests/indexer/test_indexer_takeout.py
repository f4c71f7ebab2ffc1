"""Google Takeout, as folders and as archives: its JSON files say something of the right pictures.

The names are those of exports that people have described; no tool of Google writes one here.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sightline.indexer.items import Origin
from sightline.indexer.sidecars.takeout import Takeout
from sightline.indexer.sources.listing import SourceItem, iter_source

ALBUM = "Takeout/Google Photos/Summer"


def sidecar(title: str, **more: Any) -> bytes:
    place = {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0}
    known = {
        "title": title,
        "description": "",
        "photoTakenTime": {"timestamp": "1563020400"},
        "geoData": place,
    }
    return json.dumps({**known, **more}).encode()


LONG = "a very long name of a picture that was taken somewhere"
FILES = {
    "metadata.json": json.dumps({"title": "Summer 2019", "description": "", "access": "protected"}).encode(),
    "IMG_1.jpg": b"1",
    "IMG_1.jpg.json": sidecar(
        "IMG_1.jpg", description="a dog\n", people=[{"name": "Ann"}, {"name": ""}], favorited=True,
        geoData={"latitude": 52.5, "longitude": 13.4, "altitude": 34.0},
    ),
    "IMG_1(1).jpg": b"1.1",
    "IMG_1.jpg(1).json": sidecar("IMG_1.jpg", description="another dog"),
    "IMG_1-edited.jpg": b"1e",
    "IMG_2.HEIC": b"2",
    "IMG_2.HEIC.supplemental-metadata.json": sidecar("IMG_2.HEIC", description="new style"),
    "IMG_2.MP4": b"film",
    "IMG_2(3).HEIC": b"2.3",
    "IMG_2.HEIC.supplemental-metadata(3).json": sidecar("IMG_2.HEIC", description="new style, third"),
    "IMG_20190713_123456_long.jpg": b"3",
    "IMG_20190713_123456_long.jpg.supplemental-met.json": sidecar("x.jpg", description="cut"),
    f"{LONG[:47]}.jpg": b"4",
    f"{LONG[:46]}.json": sidecar(f"{LONG}.jpg", description="cut twice"),
    "notes.json": b'{"title": "none of it"}',
    "broken.jpg": b"5",
    "broken.jpg.json": b"{",
    "alone.jpg": b"6",
}  # fmt: skip
CAPTIONS = dict.fromkeys(("IMG_2.MP4", "notes.json", "broken.jpg", "broken.jpg.json", "alone.jpg")) | {
    "IMG_1.jpg": "a dog",
    "IMG_1(1).jpg": "another dog",
    "IMG_1-edited.jpg": "a dog",
    "IMG_2.HEIC": "new style",
    "IMG_2(3).HEIC": "new style, third",
    "IMG_20190713_123456_long.jpg": "cut",
    f"{LONG[:47]}.jpg": "cut twice",
}


def written(tmp_path: Path, form: str) -> tuple[Path, str]:
    """The export, and what stands before names in image ids."""
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
            for name, data in reversed(FILES.items()):
                archive.writestr(f"{ALBUM}/{name}", data)
        return tmp_path / "t.zip", f"t.zip!/{ALBUM}/"
    folder = tmp_path / "unpacked" / ALBUM
    folder.mkdir(parents=True)
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    if form == "tgz":
        with tarfile.open(tmp_path / "t.tgz", "w:gz") as packed:
            packed.add(tmp_path / "unpacked" / "Takeout", "Takeout")
        return tmp_path / "t.tgz", f"t.tgz!/{ALBUM}/"
    return tmp_path / "unpacked", f"{ALBUM}/"


@pytest.mark.parametrize("form", ["folder", "zip", "tgz"])
def test_each_picture_gets_its_own_file_whatever_takeout_called_it(form: str, tmp_path: Path) -> None:
    source, before = written(tmp_path, form)
    found = list(iter_source(str(source)))
    items = {one.image_id.removeprefix(before): one for one in found if isinstance(one, SourceItem)}
    assert {name: one.caption for name, one in items.items()} == CAPTIONS
    assert all(one.read() == FILES[name] for name, one in items.items())
    assert items["IMG_1.jpg"].metadata == {
        "title": "IMG_1.jpg",
        "taken_at": "2019-07-13T12:20:00Z",
        "location": {"latitude": 52.5, "longitude": 13.4, "altitude": 34.0},
        "people": ["Ann"],
        "favorited": True,
        "album": "Summer 2019",
    }
    assert items["IMG_2.HEIC"].metadata == {
        "title": "IMG_2.HEIC", "taken_at": "2019-07-13T12:20:00Z", "album": "Summer 2019",
    }  # fmt: skip
    assert items["IMG_1.jpg"].origin == Origin("Google Takeout", "Summer 2019")
    assert items["alone.jpg"].metadata == {}


def test_what_is_no_number_or_no_place_is_left_out_and_breaks_nothing() -> None:
    odd = [
        {"photoTakenTime": {"timestamp": "9" * 30}}, {"photoTakenTime": {}}, {"geoData": {"latitude": "x"}},
        {"geoData": None, "geoDataExif": {"latitude": 1, "longitude": 2, "altitude": True}},
        {"people": "Ann"}, {"people": [None, {"name": 3}]}, {"favorited": "yes"}, {"description": 7},
    ]  # fmt: skip
    for more in odd:
        facts = Takeout(["a.jpg.json"], lambda name, more=more: sidecar("a.jpg", **more)).facts("a.jpg")  # type: ignore[misc]
        assert facts is not None
        assert set(facts.metadata) <= {"title", "taken_at"}
        assert facts.caption is None
    for data in (b"", b"[]", b"[" * 100_000, b"\xff", b'{"title": 1, "photoTakenTime": {}}'):
        takeout = Takeout(["a.jpg.json"], lambda name, data=data: data)  # type: ignore[misc]
        assert takeout.facts("a.jpg") is None
        assert not takeout.is_sidecar("a.jpg.json")


def test_captions_beside_pictures_count_and_other_texts_stay(tmp_path: Path) -> None:
    files = {
        "a.jpg": b"a",
        "a.txt": b"one\n\n two \n",
        "notes.txt": b"notes",
        "b.png": b"b",
        "b.json": b'{"caption": "c", "n": 1}',
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = {
        one.image_id: (one.caption, one.metadata)
        for one in iter_source(str(tmp_path))
        if isinstance(one, SourceItem)
    }
    assert found == {"a.jpg": ("one\ntwo", {}), "notes.txt": (None, {}), "b.png": ("c", {"n": 1})}
