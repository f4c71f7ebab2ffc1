"""Originals and thumbnails: written once, whole or not at all, found by their SHA-256 alone."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from sightline.errors import CorruptionError, NotFoundError, UnavailableError
from sightline.store.blob_files import Files, LocalFiles
from sightline.store.blob_files_remote import RemoteFiles
from sightline.store.blobs import BlobStore
from tests.children import kill, read_line

ROOT = Path(__file__).parents[2]
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""SHA-256 of "abc" (FIPS 180-2)."""


@pytest.fixture(params=["local", "file-url", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    folder = str(tmp_path / "blobs")
    urls = {"local": folder, "file-url": f"file://{folder}", "memory": f"memory://{uuid.uuid4().hex}/blobs"}
    return BlobStore(urls[request.param])


def test_put_answers_with_the_sha_and_get_gives_the_bytes_back(store: BlobStore) -> None:
    assert store.put(b"abc") == ABC
    assert store.get(ABC) == b"abc"
    assert store.size(ABC) == 3


def test_empty_and_large_blobs_come_back(store: BlobStore) -> None:
    for data in (b"", os.urandom(3 << 20)):
        assert store.get(store.put(data)) == data


def test_what_is_missing_is_said_to_be(store: BlobStore) -> None:
    assert not store.has(ABC)
    assert not store.has_thumbnail(ABC)
    for read in (store.get, store.size, store.get_thumbnail):
        with pytest.raises(NotFoundError, match=ABC):
            read(ABC)
    assert list(store) == []


@pytest.mark.parametrize(
    "address", ["", "abc", "../" * 20 + "etc/passwd", ABC.upper(), ABC + "\n", ABC[:-1] + "/"]
)
def test_no_address_leads_out_of_the_store(store: BlobStore, address: str) -> None:
    for method in (store.get, store.has, store.size, store.get_thumbnail):
        with pytest.raises(NotFoundError, match="no SHA-256"):
            method(address)


def test_thumbnails_live_beside_their_originals(store: BlobStore) -> None:
    store.put(b"abc")
    store.put_thumbnail(ABC, b"first")
    store.put_thumbnail(ABC, b"second")
    assert store.get_thumbnail(ABC) == b"second"
    assert store.has_thumbnail(ABC)
    assert list(store.thumbnails()) == [ABC]


@pytest.mark.parametrize("rotten", [b"abd", b"ab", b"abcd", b""])
@pytest.mark.parametrize("where", ["local", "memory"])
def test_putting_the_right_bytes_replaces_rotten_ones(where: str, rotten: bytes, tmp_path: Path) -> None:
    url = str(tmp_path) if where == "local" else f"memory://{uuid.uuid4().hex}/blobs"
    store = BlobStore(url)
    store.put(b"abc")
    files = LocalFiles(tmp_path) if where == "local" else RemoteFiles(url)
    files.write(f"originals/{ABC[:2]}/{ABC}", rotten)
    with pytest.raises(CorruptionError):
        store.get_sound(ABC)
    store.put(b"abc")
    assert store.get_sound(ABC) == b"abc"


def test_what_lies_there_already_is_not_written_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.put(b"abc")
    path = tmp_path / "originals" / "ba" / ABC
    before = path.stat().st_ino
    store.put(b"abc")
    assert path.stat().st_ino == before


def test_a_thumbnail_of_another_original_is_told(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    other = store.put(b"other")
    store.put_thumbnail(ABC, b"small")
    store.put_thumbnail(other, b"small")
    mine = tmp_path / "thumbnails" / "ba" / f"{ABC}.webp"
    mine.write_bytes((tmp_path / "thumbnails" / other[:2] / f"{other}.webp").read_bytes())
    with pytest.raises(CorruptionError):
        store.get_thumbnail(ABC)


def test_iteration_names_every_original_once(store: BlobStore) -> None:
    blobs = [f"blob {n}".encode() for n in range(60)]
    for blob in blobs:
        store.put(blob)
    store.put_thumbnail(ABC, b"not an original")
    found = list(store)
    assert len(found) == len(set(found))
    assert set(found) == {hashlib.sha256(blob).hexdigest() for blob in blobs}


def test_the_layout_is_the_documented_one(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.put(b"abc")
    store.put_thumbnail(ABC, b"small")
    assert (tmp_path / "originals" / "ba" / ABC).read_bytes() == b"abc"
    thumbnail = (tmp_path / "thumbnails" / "ba" / f"{ABC}.webp").read_bytes()
    assert thumbnail.startswith(b"small")
    assert len(thumbnail) == 5 + 32, "a seal follows the picture"


def test_a_second_put_touches_the_file_and_writes_nothing(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.put(b"abc")
    file = tmp_path / "originals" / "ba" / ABC
    os.utime(file, (1.0, 1.0))
    before = file.stat()
    store.put(b"abc")
    after = file.stat()
    assert after.st_ino == before.st_ino
    assert after.st_mtime > before.st_mtime == 1.0


def test_a_blob_of_the_wrong_length_is_written_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.put(b"abc")
    (tmp_path / "originals" / "ba" / ABC).write_bytes(b"")
    store.put(b"abc")
    assert store.get(ABC) == b"abc"


def test_writers_of_the_same_blob_do_not_meet(tmp_path: Path) -> None:
    data = os.urandom(200_000)
    with ThreadPoolExecutor(8) as pool:
        shas = set(pool.map(lambda _: BlobStore(tmp_path).put(data), range(40), timeout=60))
    assert len(shas) == 1
    assert BlobStore(tmp_path).get(shas.pop()) == data
    assert list((tmp_path / "aside").iterdir()) == []


WRITER = """
import os, sys
from sightline.store.blob_files import Files, LocalFiles
from sightline.store.blob_files_remote import RemoteFiles
from sightline.store.blobs import BlobStore
store, parent = BlobStore(sys.argv[1]), os.getppid()
print("ready", flush=True)
while os.getppid() == parent:
    store.put(os.urandom(400_000))
"""


def test_a_killed_writer_leaves_only_whole_blobs_and_its_remains_can_be_cleaned(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(3):
        arguments = [sys.executable, "-c", WRITER, str(tmp_path)]
        writer = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE)
        assert read_line(writer) == "ready"
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.15)
        kill(writer)
        writer.communicate(timeout=20)
    store = BlobStore(tmp_path)
    for sha256 in store:
        assert hashlib.sha256(store.get(sha256)).hexdigest() == sha256
    foreign = tmp_path / "aside" / "notes.txt"
    foreign.touch()
    assert {*store.unfinished(), foreign.name} == {path.name for path in foreign.parent.iterdir()}
    for name in [*store.unfinished(), foreign.name]:
        store.drop_unfinished(name)
    assert list(foreign.parent.iterdir()) == [foreign]


def test_an_unknown_file_system_is_one_clear_sentence() -> None:
    with pytest.raises(UnavailableError, match="nosuchscheme"):
        BlobStore("nosuchscheme://bucket/folder")


# removing what is released

LATER = time.time() + 1e6
"""A time of grace that every file of these tests is older than."""
PATH = f"originals/ba/{ABC}"


@pytest.fixture(params=["local", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "local":
        return LocalFiles(tmp_path / "blobs")
    return RemoteFiles(f"memory://{uuid.uuid4().hex}/blobs")


def nobody() -> bool:
    return False


def test_what_nobody_refers_to_goes_with_its_thumbnail(store: BlobStore) -> None:
    store.put(b"abc")
    store.put_thumbnail(ABC, b"small")
    assert store.remove_released(ABC, LATER, nobody)
    assert not store.has(ABC)
    assert not store.has_thumbnail(ABC)
    assert store.put_back_taken() == 0


def test_a_thumbnail_without_an_original_goes_alone(store: BlobStore) -> None:
    store.put_thumbnail(ABC, b"small")
    assert store.remove_released(ABC, LATER, nobody)
    assert not store.has_thumbnail(ABC)
    assert store.remove_released(ABC, LATER, nobody)


def test_what_was_put_within_the_time_of_grace_stays(store: BlobStore) -> None:
    store.put(b"abc")
    store.put_thumbnail(ABC, b"small")
    assert not store.remove_released(ABC, time.time() - 3600, nobody)
    assert store.get(ABC) == b"abc"
    assert store.get_thumbnail(ABC) == b"small"


def test_what_is_referred_to_again_is_put_back(store: BlobStore) -> None:
    store.put(b"abc")
    store.put_thumbnail(ABC, b"small")
    asked_with_both_aside: list[bool] = []

    def somebody() -> bool:
        asked_with_both_aside.append(store.has(ABC) or store.has_thumbnail(ABC))
        return True

    assert not store.remove_released(ABC, LATER, somebody)
    assert asked_with_both_aside == [False]
    assert store.get(ABC) == b"abc"
    assert store.get_thumbnail(ABC) == b"small"


def test_bytes_that_are_put_while_the_catalog_is_asked_are_there_afterwards(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.put(b"abc")
    store.put_thumbnail(ABC, b"small")

    def registers_just_after_the_question() -> bool:
        store.put(b"abc")
        store.put_thumbnail(ABC, b"new")
        return False

    assert store.remove_released(ABC, LATER, registers_just_after_the_question)
    assert store.get(ABC) == b"abc"
    assert store.get_thumbnail(ABC) == b"new"


REMOVAL: dict[str, Callable[[Files], object]] = {
    "take": lambda files: files.take(PATH, time.time() - 3600),
    "drop": lambda files: files.drop(PATH),
    "put back": lambda files: files.put_back(PATH),
}


@pytest.mark.parametrize("end", ["drop", "put back"])
@pytest.mark.parametrize("when", [0, 1, 2])
def test_a_local_put_before_between_or_after_the_steps_of_a_removal_keeps_the_bytes(
    tmp_path: Path, when: int, end: str
) -> None:
    files = LocalFiles(tmp_path)
    files.write(PATH, b"abc")
    os.utime(tmp_path / PATH, (1.0, 1.0))
    steps: list[Callable[[Files], object]] = [REMOVAL["take"], REMOVAL[end]]
    steps.insert(when, lambda files: files.keep(PATH, io.BytesIO(b"abc")))
    for step in steps:
        step(files)
    assert files.read(PATH) == b"abc"
    assert list(files.taken()) == []


def test_a_put_into_a_remote_store_waits_for_the_removal_that_has_begun(tmp_path: Path) -> None:
    root = f"/{uuid.uuid4().hex}/blobs"
    files = RemoteFiles(f"memory:/{root}")
    files.write(PATH, b"abc")
    assert files.take(PATH, LATER) == "taken"
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(files.keep, PATH, io.BytesIO(b"abc"))
        with pytest.raises(TimeoutError):
            put.result(timeout=0.3)
        # The removal's last request, which a put that did not wait would lose to.
        fsspec.filesystem("memory").rm_file(f"{root}/{PATH}")
        files.drop(PATH)
        put.result(timeout=20)
    assert files.read(PATH) == b"abc"


def test_a_file_is_young_to_a_removal_after_it_was_kept(files: Files) -> None:
    files.write(PATH, b"abc")
    assert files.take(PATH, LATER) == "taken"
    assert files.size(PATH) is None
    files.put_back(PATH)
    moment = time.time() - 1.0
    files.keep(PATH, io.BytesIO(b"abc"))
    assert files.take(PATH, moment) == "young"
    assert files.read(PATH) == b"abc"
    assert files.take("originals/no/thing", LATER) == "absent"


def test_a_removal_that_was_killed_is_undone(files: Files) -> None:
    files.write(PATH, b"abc")
    assert files.take(PATH, LATER) == "taken"
    assert list(files.taken()) == [PATH]
    files.put_back(PATH)
    assert files.read(PATH) == b"abc"
    assert list(files.taken()) == []
    assert not files.drop(PATH)


def test_what_is_put_before_a_killed_removal_is_undone_is_young_to_the_next(
    files: Files, tmp_path: Path
) -> None:
    files.write(PATH, b"abc")
    assert files.take(PATH, LATER) == "taken"
    moment = time.time() - 1.0
    for aside in tmp_path.rglob(f"taken/{PATH}"):  # it lay there long before, in a local folder
        os.utime(aside, (1.0, 1.0))
        files.keep(PATH, io.BytesIO(b"abc"))
    files.put_back(PATH)
    assert files.take(PATH, moment) == "young"
    assert files.read(PATH) == b"abc"
    assert list(files.taken()) == []


AS_NOBODY = """
import os, sys
from sightline.store.blobs import BlobStore
store = BlobStore(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(store.put(b"abc"))
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root has other users")
def test_bytes_that_another_user_keeps_are_kept_anew() -> None:
    with tempfile.TemporaryDirectory() as name:
        store = BlobStore(name)
        store.put(b"abc")
        for folder in (Path(name), *Path(name).rglob("*")):
            folder.chmod(0o777 if folder.is_dir() else 0o644)
        command = [sys.executable, "-c", AS_NOBODY, name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout.strip(), done.stderr) == (ABC, "")
        assert store.get(ABC) == b"abc"


def test_the_next_builder_puts_back_what_a_killed_one_took(tmp_path: Path) -> None:
    store, files = BlobStore(tmp_path), LocalFiles(tmp_path)
    store.put(b"abc")
    files.take(PATH, LATER)
    assert not store.has(ABC)
    assert store.put_back_taken() == 1
    assert store.get(ABC) == b"abc"
