"""Files of other kinds are known by their first bytes, unless their names claim to be pictures."""

from __future__ import annotations

import io
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from sightline.imaging.file_kinds import LOOKED_AT, counted, file_kind


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


OTHERS = {
    "IMG_1.MOV": (b"\0\0\0\x14ftypqt  " + bytes(20), "video"),
    "song.m4a": (b"\0\0\0\x1cftypM4A \0\0\0\0", "audio"),
    "song.mp3": (b"ID3\x04\0\0", "audio"),
    "a.wav": (b"RIFF\x24\0\0\0WAVEfmt ", "audio"),
    "IMG_1.AAE": (b'<?xml version="1.0"?>\n<plist version="1.0"></plist>', "text"),
    "bin.aae": (b"bplist00\xd1", "text"),
    "a.xmp": (b"\xef\xbb\xbf<x:xmpmeta/>", "text"),
    "long.txt": (("x" + "ä" * LOOKED_AT).encode()[:LOOKED_AT], "text"),
    "utf16.ini": ("[a]\r\nb=c\r\n".encode("utf-16"), "text"),
    "empty.json": (b"", "text"),
    "p.pdf": (b"%PDF-1.7\n", "pdf"),
    "d.svg": (b"<svg xmlns='x'/>", "svg"),
    "a.zip": (zipped("a.txt"), "archive"),
    "a.docx": (zipped("[Content_Types].xml"), "document"),
    "a.tar": (tarred()[:LOOKED_AT], "archive"),
    "setup.exe": (b"MZ\x90\0\x03\0\0\0", "program"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_are_known_by_their_bytes(name: str) -> None:
    data, kind = OTHERS[name]
    assert file_kind(name, data) == kind


def test_a_catalogue_is_known_as_sqlite_writes_it(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "a.lrcat")
    database.execute("create table t (a)")
    database.commit()
    database.close()
    assert file_kind("a.lrcat", (tmp_path / "a.lrcat").read_bytes()[:LOOKED_AT]) == "database"


@pytest.mark.parametrize("name", ["text.jpg", "raw.CR3", "video.heic"])
def test_what_claims_to_be_a_picture_is_never_skipped(name: str) -> None:
    for data, _ in OTHERS.values():
        assert file_kind(name, data) is None


@pytest.mark.parametrize("made", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "ICO"])
def test_a_picture_under_another_name_is_left_to_the_decoder(made: str) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(buffer, made)
    assert file_kind("picture.thm", buffer.getvalue()[:LOOKED_AT]) is None
    assert file_kind("picture", b"") is None


def test_they_are_counted_in_words() -> None:
    assert counted({"archive": 1, "video": 1212, "text": 3}) == "1,212 videos, 3 text files, 1 archive"
