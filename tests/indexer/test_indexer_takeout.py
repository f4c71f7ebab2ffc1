"""Google Takeout, as folders and as archives: its JSON files say something of the right pictures.

The names are those of exports that people have described; no tool of Google writes one here.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sightline.indexer.items import BAD_SIDECAR, Origin
from sightline.indexer.sidecars.takeout import Takeout
from sightline.indexer.sources.listing import SourceItem, SourceProblem, iter_source

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
CAPTIONS = dict.fromkeys(("IMG_2.MP4", "notes.json", "broken.jpg", "alone.jpg")) | {
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
    skipped = {"IMG_2.MP4", "notes.json"} if form == "folder" else set()  # by kind; archives list all
    assert {name: one.caption for name, one in items.items()} == {
        name: caption for name, caption in CAPTIONS.items() if name not in skipped
    }
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
        is_json = data[:1] == b"{"
        facts = takeout.facts("a.jpg")
        assert [name for name, _ in facts.faults] == ["a.jpg.json"] if facts else is_json
        assert takeout.is_sidecar("a.jpg.json") != is_json


def test_captions_beside_pictures_count_and_other_texts_do_not(tmp_path: Path) -> None:
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
    assert found == {"a.jpg": ("one\ntwo", {}), "b.png": ("c", {"n": 1})}


def test_endings_of_sidecars_count_in_any_case_and_for_globs_and_single_files_too(tmp_path: Path) -> None:
    (tmp_path / "A.JPG").write_bytes(b"a")
    (tmp_path / "A.TXT").write_bytes(b"large letters")
    (tmp_path / "B.jpg").write_bytes(b"b")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for name in ("A.JPG", "A.TXT", "B.jpg"):
            archive.write(tmp_path / name, name)
    for source, more in (("", "z.zip"), ("[AB]*", ""), ("A.JPG", ""), ("z.zip", "")):
        found = [one for one in iter_source(str(tmp_path / source)) if one.image_id != more]
        items = {one.image_id.rpartition("/")[2]: one.caption for one in found if isinstance(one, SourceItem)}
        assert items.pop("A.JPG") == "large letters"
        assert len(found) == 1 + len(items)
        assert set(items) <= {"B.jpg"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b"a\0b"), ("a.cls", b"\0"), ("a.json", b'{"k": ["\\u0000"]}'),
        ("a.json", b'{"caption": "\\ud800"}'), ("a.json", b'{"n": 1e999}'), ("a.jpg.json", b"{"),
        ("a.jpg.supplemental-metadata.json", sidecar("\0")),
    ],
)  # fmt: skip
def test_what_no_database_keeps_costs_the_sidecar_and_not_the_picture(
    name: str, data: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "Takeout"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"a")
    (folder / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for inner in ("a.jpg", name):
            archive.write(folder / inner, inner if name.count(".") == 1 else f"Takeout/{inner}")
    for source in (folder, tmp_path / "z.zip"):
        problem, item = sorted(iter_source(str(source)), key=lambda one: isinstance(one, SourceItem))
        assert isinstance(problem, SourceProblem)
        assert isinstance(item, SourceItem)
        assert (problem.reason, problem.image_id) == (
            BAD_SIDECAR, item.image_id.replace("a.jpg", name),
        )  # fmt: skip
        assert (item.caption, item.metadata) == (None, {})


def test_of_two_texts_of_one_name_in_an_archive_the_first_counts_as_of_two_pictures(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in (("a.jpg", b"1"), ("a.txt", b"first"), ("a.jpg", b"2"), ("a.txt", b"second")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    first, *_ = iter_source(str(tmp_path / "a.tar"))
    assert isinstance(first, SourceItem)
    assert (first.read(), first.caption) == (b"1", "first")
