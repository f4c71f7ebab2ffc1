"""Files, folders and globs as sources: everything is listed once, in bounded memory, under a predictable
id.
"""

from __future__ import annotations

import os
import re
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import ImageRejected, SourceError
from sightline.indexer.roots import Roots
from sightline.indexer.sources.folders import matches, may_hold, walk
from sightline.indexer.sources.listing import SourceItem, SourceProblem, iter_source, read_uri
from sightline.store.blobs import BlobStore


def write(path: Path, data: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data or path.name.encode())
    return path


def items(source: object) -> dict[str, SourceItem]:
    return {item.image_id: item for item in iter_source(str(source)) if isinstance(item, SourceItem)}


def problems(source: object) -> dict[str, str]:
    return {
        item.image_id: item.reason for item in iter_source(str(source)) if isinstance(item, SourceProblem)
    }


def in_folder(folder: Path, act: Callable[[], object]) -> object:
    """The result of ``act`` with ``folder`` as current folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return act()
    finally:
        os.chdir(before)


def test_a_single_file_has_its_name_as_id(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "cat.jpg", b"meow")
    (item,) = iter_source(str(path))
    assert isinstance(item, SourceItem)
    assert (item.image_id, item.uri, item.caption, item.metadata) == ("cat.jpg", str(path), None, {})
    assert item.read() == b"meow"


def test_a_folder_lists_every_file_below_it_with_relative_ids_in_order(tmp_path: Path) -> None:
    for name in (
        "b.jpg",
        "a.jpg",
        "sub/z.png",
        "sub/deep/er/x.jpg",
        "notes.dat",
        "Ünï çødé.jpg",
        "sub2/.x/hidden.jpg",
    ):
        write(tmp_path / name)
    listed = items(tmp_path)
    assert list(listed) == ["a.jpg", "b.jpg", "Ünï çødé.jpg", "sub/z.png", "sub/deep/er/x.jpg"]
    assert problems(tmp_path) == {"notes.dat": "skipped"}  # it is text
    for name, item in listed.items():
        assert item.uri == str(tmp_path / name)
        assert item.read() == read_uri(item.uri, None) == Path(name).name.encode()


def test_relative_sources_give_absolute_addresses(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "a.jpg")
    listed = in_folder(tmp_path, lambda: items("photos"))
    assert listed == items(tmp_path / "photos")


def test_hidden_and_system_files_are_no_part_of_a_source(tmp_path: Path) -> None:
    for name in (
        ".DS_Store",
        ".hidden.jpg",
        "Thumbs.db",
        "desktop.ini",
        "@eaDir/a.jpg",
        ".git/b.jpg",
        "kept.jpg",
    ):
        write(tmp_path / name)
    assert list(items(tmp_path)) == ["kept.jpg"]
    assert problems(tmp_path) == {}
    assert list(items(tmp_path / ".hidden.jpg")) == [".hidden.jpg"]  # who names it wants it


def test_what_is_no_regular_file_is_a_problem_and_is_never_opened(tmp_path: Path) -> None:
    write(tmp_path / "good.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "itself.jpg").symlink_to(tmp_path / "itself.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        in_folder(tmp_path, lambda: server.bind("socket.jpg"))
    expected = {"pipe.jpg": "not_an_image", "socket.jpg": "not_an_image"}
    assert problems(tmp_path) == {**expected, "dangling.jpg": "unreadable", "itself.jpg": "unreadable"}
    assert list(items(tmp_path)) == ["good.jpg"]
    for name in ("pipe.jpg", "socket.jpg", "dangling.jpg", "itself.jpg"):
        with pytest.raises(ImageRejected, match="unreadable"):
            read_uri(str(tmp_path / name))


def test_archives_and_manifests_inside_of_a_folder_are_named_and_not_entered(tmp_path: Path) -> None:
    for name in ("a.zip", "b.tar.gz", "c.csv", "d.jsonl", "e.PARQUET", "good.jpg"):
        write(tmp_path / name)
    assert set(problems(tmp_path)) == {"a.zip", "b.tar.gz", "c.csv", "d.jsonl", "e.PARQUET"}
    assert set(problems(tmp_path).values()) == {"skipped"}
    assert list(items(tmp_path)) == ["good.jpg"]


def test_symlinked_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    write(source / "real" / "a.jpg")
    write(elsewhere / "b.jpg")
    (source / "again").symlink_to(source / "real")  # sorts before "real", and must not take its name
    (source / "real" / "loop").symlink_to(source)
    (source / "real" / "up").symlink_to("..")
    (source / "out").symlink_to(elsewhere)
    (source / "out2").symlink_to(elsewhere)
    (source / "file.jpg").symlink_to(elsewhere / "b.jpg")
    assert sorted(items(source)) == ["file.jpg", "out/b.jpg", "real/a.jpg"]
    assert problems(source) == {}


def test_an_unreadable_subfolder_is_a_problem_that_hides_more(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    deep = tmp_path
    for _ in range(30):  # a path longer than the system takes, made from inside
        deep = deep / ("d" * 200)
    folder_by_folder(tmp_path, 30)
    listed = list(iter_source(str(tmp_path)))
    assert [item.image_id for item in listed if isinstance(item, SourceItem)] == ["a.jpg"]
    (problem,) = [item for item in listed if isinstance(item, SourceProblem)]
    assert (problem.reason, problem.hides_more) == ("unreadable", True)


def folder_by_folder(top: Path, depth: int) -> None:
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 200, dir_fd=descriptor)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    os.close(descriptor)


def test_a_name_that_is_no_utf8_has_a_readable_id_and_an_address_that_leads_back(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    try:
        descriptor = os.open(raw, os.O_CREAT | os.O_WRONLY)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    os.write(descriptor, b"bytes")
    os.close(descriptor)
    (item,) = iter_source(str(tmp_path))
    assert isinstance(item, SourceItem)
    assert item.image_id == "caf\\xe9.jpg"
    assert item.uri.encode().endswith(b"/caf%E9.jpg")
    assert item.read() == read_uri(item.uri) == b"bytes"
    assert Roots([str(tmp_path)]).allow(item.uri)


def test_the_mark_of_archives_in_the_name_of_a_folder_confuses_nobody(tmp_path: Path) -> None:
    write(tmp_path / "wow!" / "a.jpg", b"bytes")
    (item,) = iter_source(str(tmp_path))
    assert isinstance(item, SourceItem)
    assert item.image_id == "wow!/a.jpg"
    assert item.uri == f"file://{tmp_path}/wow%21/a.jpg"
    assert item.read() == read_uri(item.uri) == b"bytes"


def test_links_out_of_the_roots_are_seen_through_by_their_address(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write(outside / "secret.jpg")
    root.mkdir()
    for name in (b"plain", b"wow!", b"\xff"):
        os.symlink(os.fsencode(outside), os.fsencode(root) + b"/" + name)
        (item,) = iter_source(str(root))
        assert not Roots([str(root)]).allow(item.uri)
        os.unlink(os.fsencode(root) + b"/" + name)


def test_a_huge_folder_is_streamed_and_not_held(tmp_path: Path) -> None:
    for number in range(6000):
        os.mknod(tmp_path / f"{number:07d}{'x' * 150}.jpg")
    tracemalloc.start()
    names = {hash(found) for found in walk(str(tmp_path), sort_limit=500)}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(names) == 6000
    assert peak < 2 << 20  # all of them would be 4 MB


def test_listing_is_lazy(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / f"{number}" / "a.jpg")
    listing = iter_source(str(tmp_path))
    first = next(listing)
    for item in tmp_path.glob("9/*"):
        item.unlink()
    assert first.image_id == "0/a.jpg"
    assert len(list(listing)) == 18


@pytest.mark.parametrize(
    "source",
    [
        "nowhere",
        "no*where",
        "http://example.org/a.jpg",
        "https://example.org/",
        "s3://bucket/x",
        "data:image/png,x",
        "simplecache::http://example.org/a.jpg",
        "a.zip!/b.jpg",
        "memory://x",
    ],
)
def test_what_is_no_source_is_said_in_one_sentence(source: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        in_folder(tmp_path, lambda: list(iter_source(source)))
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_remote_file_systems_need_permission_and_http_is_refused_even_then() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/sources-test/sub/a.jpg": b"aa", "/sources-test/b.jpg": b"b", "/sources-test/.hidden": b""})
    listed = [
        item
        for item in iter_source("memory://sources-test", allow_remote=True)
        if isinstance(item, SourceItem)
    ]
    read = {item.image_id: item.read() for item in listed if isinstance(item, SourceItem)}
    assert read == {"sub/a.jpg": b"aa", "b.jpg": b"b"}
    assert {read_uri(item.uri, allow_remote=True) for item in listed} == {b"aa", b"b"}
    with pytest.raises(ImageRejected, match="too_many_bytes"):
        read_uri(listed[0].uri, max_bytes=0, allow_remote=True)
    for refused in ("http://example.org/a", "https://example.org/a", "filecache::http://example.org/a"):
        with pytest.raises(ImageRejected, match="unreadable"):
            read_uri(refused, allow_remote=True)
        with pytest.raises(SourceError):
            list(iter_source(refused, allow_remote=True))
    with pytest.raises(ImageRejected, match="unreadable"):
        read_uri(listed[0].uri)


# --- globs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("[ab].jpg", ["a.jpg", "b.jpg"]),
        ("?.png", ["c.png"]),
        ("*/*.jpg", ["x/a.jpg", "y/a.jpg"]),
        ("**/a.jpg", ["a.jpg", "x/a.jpg", "x/deep/a.jpg", "y/a.jpg"]),
        ("**", ["a.jpg", "b.jpg", "c.png", "x/a.jpg", "x/deep/a.jpg", "y/a.jpg"]),
        ("x/**/*.jpg", ["a.jpg", "deep/a.jpg"]),
        ("./x/d*p/*", ["deep/a.jpg"]),
    ],
)
def test_globs(pattern: str, expected: list[str], tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.png", "x/a.jpg", "x/deep/a.jpg", "y/a.jpg", ".z/a.jpg", ".a.jpg"):
        write(tmp_path / name)
    assert sorted(items(tmp_path / pattern)) == expected
    assert sorted(in_folder(tmp_path, lambda: list(items(pattern)))) == expected  # type: ignore[call-overload]


def test_globs_agree_with_pathlib_on_random_trees(tmp_path: Path) -> None:
    names = [f"{a}/{b}/{c}" for a in "pq" for b in ("r", "sr") for c in ("t.jpg", "u.png", "tt.jpg")]
    for name in [*names, "p/t.jpg", "t.jpg"]:
        write(tmp_path / name)
    for pattern in ("*/*/t*", "*/r/*", "**/*.jpg", "p/**/t.jpg", "**/r/*.png", "*/?r/*"):
        expected = {path for path in tmp_path.glob(pattern) if path.is_file()}
        assert {Path(item.uri) for item in items(tmp_path / pattern).values()} == expected


@given(st.lists(st.sampled_from("ab"), max_size=6), st.lists(st.sampled_from(["a", "?", "**"]), max_size=6))
def test_globs_agree_with_a_regular_expression(parts: list[str], pattern: list[str]) -> None:
    steps = {"a": "a/", "?": "[ab]/", "**": "(?:[ab]/)*"}
    expected = re.fullmatch("".join(map(steps.__getitem__, pattern)), "".join(f"{part}/" for part in parts))
    assert matches(parts, pattern) is (expected is not None)


def test_a_glob_of_many_folders_costs_no_more_than_it_is_long() -> None:
    many = ["**", "a"] * 1000
    assert not matches(["a"] * 900, [*many, "b"])  # tried one after the other this would take for ever
    assert matches(["a"] * 1000, many)


def test_a_glob_of_a_thousand_steps_is_listed_or_refused_with_a_sentence(tmp_path: Path) -> None:
    write(tmp_path / "x/deep/a.jpg")
    for pattern in ("**/" * 1100 + "a.jpg", "**/deep/" + "**/" * 1100 + "*"):
        assert list(items(f"{tmp_path}/{pattern}")) == ["x/deep/a.jpg"]
    for pattern in ("**/" * 1100 + "b.jpg", "*/" * 1100 + "a.jpg"):
        with pytest.raises(SourceError, match="No file matches"):
            items(f"{tmp_path}/{pattern}")


def test_folders_as_deep_as_paths_can_be_are_compared_with_a_glob() -> None:
    folder = ["a"] * 2000
    assert may_hold(folder, ["*"] * 2001)
    assert not may_hold(folder, ["*"] * 2000)
    assert may_hold(folder, [*["a"] * 1999, "**", "b"])
    assert not may_hold(folder, [*["a"] * 1999, "b", "c"])


def test_wildcards_in_the_name_of_an_existing_file_are_its_name(tmp_path: Path) -> None:
    write(tmp_path / "a[1].jpg")
    write(tmp_path / "a1.jpg")
    assert list(items(tmp_path / "a[1].jpg")) == ["a[1].jpg"]


def test_folders_that_cannot_hold_a_match_are_not_entered() -> None:
    assert may_hold(["x"], ["x", "*.jpg"])
    assert not may_hold(["y"], ["x", "*.jpg"])
    assert not may_hold(["x", "deep"], ["x", "*.jpg"])
    assert may_hold(["x", "deep", "er"], ["x", "**", "*.jpg"])
    assert not matches(["x"], [])


# --- addresses ----------------------------------------------------------------------------------------------


def test_stored_originals_are_read_by_their_sha(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    sha256 = blobs.put(b"kept")
    assert read_uri(f"blob:{sha256}", blobs) == b"kept"
    for address in (f"blob:{'0' * 64}", "blob:../../etc/passwd", "blob:"):
        with pytest.raises(ImageRejected, match="unreadable"):
            read_uri(address, blobs)
    with pytest.raises(ImageRejected, match="unreadable"):
        read_uri(f"blob:{sha256}", None)
    with pytest.raises(ImageRejected, match="too_many_bytes"):
        read_uri(f"blob:{sha256}", blobs, max_bytes=3)


@pytest.mark.parametrize(
    "uri", ["", "relative.jpg", "/no/such/file.jpg", "/no\0pe", "/", "/dev/zero", "file:///nope"]
)
def test_unreadable_addresses_are_rejected_as_such(uri: str) -> None:
    with pytest.raises(ImageRejected, match="unreadable"):
        read_uri(uri)


def test_a_file_beyond_the_byte_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(ImageRejected, match="too_many_bytes"):
        read_uri(str(path))
    (item,) = iter_source(str(path))
    assert isinstance(item, SourceItem)
    with pytest.raises(ImageRejected, match="too_many_bytes"):
        item.read()
