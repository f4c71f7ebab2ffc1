"""ZIP and TAR archives as sources: members in place, nothing absurd, damage never mistaken for the end."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.sources.listing import SourceItem, SourceProblem, iter_source, read_uri

TARS = ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"]
PICTURES = {"one.jpg": b"1" * 10, "sub/two.png": b"22", "sub/dir/three": b"", "ünï.jpg": b"4444"}


def make_zip(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    kind = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".xz": "xz"}.get(path.suffix, "")
    with tarfile.open(path, f"w:{kind}") as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make(path: Path, members: Mapping[str, bytes]) -> Path:
    return make_zip(path, members) if path.suffix == ".zip" else make_tar(path, members)


def items(source: object) -> list[SourceItem]:
    return [item for item in iter_source(str(source)) if isinstance(item, SourceItem)]


def problems(source: object) -> dict[str, str]:
    return {
        item.image_id: item.reason for item in iter_source(str(source)) if isinstance(item, SourceProblem)
    }


@pytest.mark.parametrize("name", ["a.zip", "A.ZIP", *TARS])
def test_members_are_listed_and_can_be_read_later_in_any_order(name: str, tmp_path: Path) -> None:
    path = make(tmp_path / name, PICTURES) if name != "A.ZIP" else make_zip(tmp_path / name, PICTURES)
    listed = items(path)
    assert [item.image_id for item in listed] == [f"{name}!/{member}" for member in PICTURES]
    assert [item.uri for item in listed] == [f"{path}!/{member}" for member in PICTURES]
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda item: item.read(), reversed(listed), timeout=60))
    assert read == list(reversed(PICTURES.values()))
    assert [read_uri(item.uri) for item in listed] == list(PICTURES.values())
    assert problems(path) == {}


@pytest.mark.parametrize("name", ["a.zip", *TARS])
def test_one_member_can_be_named_as_a_source(name: str, tmp_path: Path) -> None:
    path = make(tmp_path / name, PICTURES)
    (item,) = items(f"{path}!/sub/two.png")
    assert (item.image_id, item.uri) == (f"{name}!/sub/two.png", f"{path}!/sub/two.png")
    assert item.read() == b"22"
    for missing in ("nothing.jpg", "sub", ""):
        with pytest.raises(ImageRejected, match="unreadable"):
            read_uri(f"{path}!/{missing}")


def test_a_glob_of_archives_names_them_in_the_ids(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for number in (0, 1):
        make_tar(tmp_path / "shards" / f"{number}.tar", {"a.jpg": b"%d" % number})
    listed = items(tmp_path / "sh*" / "*.tar")
    assert [(item.image_id, item.read()) for item in listed] == [
        ("shards/0.tar!/a.jpg", b"0"),
        ("shards/1.tar!/a.jpg", b"1"),
    ]


def test_hidden_members_folders_and_leading_dots_are_left_out(tmp_path: Path) -> None:
    members = {
        "./a.jpg": b"a",
        "__MACOSX/._a.jpg": b"x",
        ".DS_Store": b"x",
        "sub/.hidden/b.jpg": b"x",
        "empty/": b"",
    }
    for name in ("a.zip", "a.tar"):
        assert [item.image_id for item in items(make(tmp_path / name, members))][:1] == [f"{name}!/a.jpg"]
    assert len(items(tmp_path / "a.zip")) == 1


def test_many_threads_read_one_zip(tmp_path: Path) -> None:
    members = {f"{number}.jpg": os.urandom(2000) for number in range(300)}
    listed = items(make_zip(tmp_path / "a.zip", members))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda item: item.read(), listed, timeout=60)) == list(members.values())


def test_large_members_of_a_compressed_tar_come_back(tmp_path: Path) -> None:
    members = {"large.tif": bytes(17 << 20) + b"end", "after.jpg": b"after"}
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    listed = items(path)
    assert [item.read() for item in listed] == list(members.values())


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_links_and_devices_in_a_tar_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as archive:
        for member, kind in (("soft", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("dev", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(f"{member}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for member in ("../../climbing.jpg", "sub/../../climbing.jpg", "/absolute.jpg"):
            info = tarfile.TarInfo(member)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"good"))
    assert set(problems(path).values()) == {"unsupported"}
    assert len(problems(path)) == 5
    for member in ("soft", "hard", "dev"):
        with pytest.raises(ImageRejected, match="unsupported"):
            read_uri(f"{path}!/{member}.jpg")
    (item,) = items(path)
    assert item.image_id == f"{name}!/absolute.jpg"
    assert item.read() == b"good"


def test_links_and_encrypted_members_of_a_zip_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("locked.jpg", b"secret")
        archive.writestr("good.jpg", b"good")
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.index(signature, data.index(signature) + 4)  # the second member
        data[at + flags] |= 1
    path.write_bytes(data)
    assert problems(path) == {"a.zip!/link.jpg": "unsupported", "a.zip!/locked.jpg": "unsupported"}
    assert [item.read() for item in items(path)] == [b"good"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_members_beyond_the_byte_limit_are_refused_before_they_are_read(name: str, tmp_path: Path) -> None:
    path = make(tmp_path / name, {"large.jpg": bytes(3000), "small.jpg": bytes(10)})
    listed = list(iter_source(str(path), max_bytes=100))
    assert [(item.image_id, type(item).__name__) for item in listed] == [
        (f"{name}!/large.jpg", "SourceProblem"),
        (f"{name}!/small.jpg", "SourceItem"),
    ]
    assert isinstance(listed[0], SourceProblem)
    assert listed[0].reason == "too_many_bytes"
    with pytest.raises(ImageRejected, match="too_many_bytes"):
        read_uri(f"{path}!/large.jpg", max_bytes=100)


def test_a_member_packed_beyond_belief_is_refused(tmp_path: Path) -> None:
    path = make_zip(
        tmp_path / "a.zip", {"bomb.bmp": bytes(80 << 20), "flat.bmp": bytes(1 << 20), "a.jpg": b"a"}
    )
    assert path.stat().st_size < 500_000
    assert problems(path) == {"a.zip!/bomb.bmp": "too_many_bytes"}
    assert [len(item.read()) for item in items(path)] == [1 << 20, 1]


def overlapping_zip(count: int, size: int) -> bytes:
    """A "quoted" bomb: every entry of the directory points at the same compressed bytes."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(bytes(size)) + deflate.flush()
    crc = zlib.crc32(bytes(size))
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(packed), size, 1, 0) + b"a" + packed
    entry = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(packed), size, 1, 0, 0, 0, 0, 0, 0
    )
    directory = (entry + b"a") * count
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(local), 0)
    return local + directory + end


def test_members_that_share_their_bytes_are_a_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(overlapping_zip(1, 1 << 20))
    assert len(items(path)) == 1
    path.write_bytes(overlapping_zip(1000, 1 << 20))
    with pytest.raises(SourceError, match="bomb"):
        items(path)
    with pytest.raises(ImageRejected, match="bomb"):
        read_uri(f"{path}!/a")


def test_an_archive_that_outgrows_its_size_is_a_bomb(tmp_path: Path) -> None:
    """40 members of 63 MB each, from 11 MB: every one is below the limits, together they are not."""
    piece = zlib.compress(bytes(63 << 20), 1)[2:-4]
    crc = zlib.crc32(bytes(63 << 20))
    body, directory = b"", b""
    for number in range(40):
        name = b"%02d" % number
        sizes = (crc, len(piece), 63 << 20)
        entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, *sizes, 2, 0, 0, 0, 0, 0, len(body))
        directory += entry + name
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, *sizes, 2, 0) + name + piece
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 40, 40, len(directory), len(body), 0)
    path = tmp_path / "a.zip"
    path.write_bytes(body + directory + end)
    found, error = listed_until_error(path)
    assert len(found) == max(2 << 30, 200 * path.stat().st_size) // (63 << 20)
    assert len(found) < 40
    assert "bomb" in error


# --- damage -------------------------------------------------------------------------------------------------


def listed_until_error(path: Path) -> tuple[list[SourceItem], str]:
    found: list[SourceItem] = []
    try:
        found.extend(item for item in iter_source(str(path)) if isinstance(item, SourceItem))
    except SourceError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize("name", TARS)
def test_a_tar_that_breaks_off_gives_what_is_whole_and_then_an_error(name: str, tmp_path: Path) -> None:
    members = {f"{number}.jpg": os.urandom(60_000) for number in range(6)}
    path = make_tar(tmp_path / name, members)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 7 // 12])
    found, error = listed_until_error(path)
    assert "to its end" in error
    good = [item for item in found if item_is(item, members)]
    assert len(good) <= 4
    assert len(good) >= (0 if name.endswith("bz2") else 2)  # blocks of bzip2 are larger than this archive
    assert len(found) - len(good) <= 1


def item_is(item: SourceItem, members: Mapping[str, bytes]) -> bool:
    try:
        return item.read() == members[item.image_id.partition("!/")[2]]
    except ImageRejected as rejected:
        return rejected.reason not in ("truncated", "unreadable")


@pytest.mark.parametrize("keep", [1024, 1024 + 100])
def test_a_plain_tar_cut_between_members_is_not_taken_for_a_whole_one(keep: int, tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"a.jpg": bytes(512), "b.jpg": bytes(512)})
    path.write_bytes(path.read_bytes()[:keep])
    found, error = listed_until_error(path)
    assert [item.image_id for item in found] == ["a.tar!/a.jpg"]
    assert error


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"a.jpg": bytes(512), "b.jpg": bytes(512)})
    data = bytearray(path.read_bytes())
    data[1024 + 3] ^= 0xFF
    path.write_bytes(data)
    found, error = listed_until_error(path)
    assert len(found) == 1
    assert error


def test_damaged_zip_members_are_rejected_and_their_neighbours_are_not(tmp_path: Path) -> None:
    members = {"a.jpg": b"a" * 100, "b.jpg": os.urandom(1000), "c.jpg": b"c" * 100}
    path = make_zip(tmp_path / "a.zip", members, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(members["b.jpg"]) + 500] ^= 1
    path.write_bytes(data)
    first, second, third = items(path)
    assert first.read() + third.read() == members["a.jpg"] + members["c.jpg"]
    with pytest.raises(ImageRejected, match="unreadable"):
        second.read()


@pytest.mark.parametrize("name", ["a.zip", *TARS])
@pytest.mark.parametrize(
    "content", [b"", b"no archive", bytes(100), b"PK\3\4" + bytes(50), b"\x1f\x8b" + bytes(50)]
)
def test_what_is_no_archive_is_one_sentence(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError, match=name):
        items(path)
    with pytest.raises(ImageRejected, match="unreadable"):
        read_uri(f"{path}!/a.jpg")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_any_flipped_byte_gives_items_or_the_errors_that_are_promised(name: str, tmp_path: Path) -> None:
    whole = make(tmp_path / name, {"a.jpg": b"some bytes", "b.jpg": b"more bytes"}).read_bytes()
    path = tmp_path / f"flipped-{name}"
    for at in range(0, min(len(whole), 2048), 13):
        data = bytearray(whole)
        data[at] ^= 0x5A
        path.write_bytes(data)
        for item in listed_until_error(path)[0]:
            read_or_rejection(item)


def read_or_rejection(item: SourceItem) -> bytes | ImageRejected:
    try:
        return item.read()
    except ImageRejected as rejected:
        return rejected
