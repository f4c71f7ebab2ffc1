"""Originals are sent piece by piece, whole or in ranges, and only when they are what was indexed."""

from __future__ import annotations

import hashlib
import os
import random
import tarfile
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

import httpx
import psutil
import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.api.server import running
from sightline.errors import ImageRejected
from sightline.imaging import IsolatedDecoder
from sightline.indexer.opened_originals import SETTLED_SECONDS, OpenedOriginal, Opener
from sightline.indexer.originals import Originals
from sightline.settings import Settings
from sightline.store.blobs import BlobStore
from sightline.store.records import COPIED, Image
from sightline.wiring import Installation
from tests.api.conftest import installation
from tests.api.installation import png, problem, upload

BOUND = 60
IMAGES = "/v1/collections/pictures/images"
LARGE = 100 << 20
READERS = 20


@pytest.fixture(params=["copied", "folder"])
def picture(
    client: TestClient, services: Installation, tmp_path: Path, request: pytest.FixtureRequest
) -> tuple[TestClient, str, bytes]:
    """(client, address of its file, its bytes)"""
    data = png("red", "blue", side=64)
    services.collections.create("pictures")
    if request.param == "copied":
        upload(client, {"a.png": data})
    else:
        (tmp_path / "a.png").write_bytes(data)
        services.indexer.index([str(tmp_path / "a.png")], "pictures")
    services.indexer.run_pending()
    (record,) = client.get(IMAGES).json()["items"]
    return client, record["file_url"], data


def test_any_single_range_is_that_part_of_the_file(picture: tuple[TestClient, str, bytes]) -> None:
    client, url, data = picture
    chosen, size = random.Random(0), len(data)
    for _ in range(40):
        first, last = sorted(chosen.randrange(size + 20) for _ in range(2))
        for text, wanted in (
            (f"bytes={first}-{last}", data[first : last + 1]),
            (f"bytes={first}-", data[first:]),
            (f"BYTES= -{last + 1}", data[-last - 1 :]),
        ):
            answer = client.get(url, headers={"Range": text})
            if not wanted:
                problem(answer, 416)
                assert answer.headers["content-range"] == f"bytes */{size}"
                continue
            assert (answer.status_code, answer.content) == (206, wanted), text
            at = data.index(wanted) if len(wanted) > 100 else None
            said = answer.headers["content-range"]
            assert said.endswith(f"/{size}")
            assert at is None or said.startswith(f"bytes {at}-{at + len(wanted) - 1}/")
            assert int(answer.headers["content-length"]) == len(wanted)


def test_what_is_no_single_range_is_ignored(picture: tuple[TestClient, str, bytes]) -> None:
    client, url, data = picture
    for text in ("bytes=0-1,3-4", "bytes=5-4", "bytes=-", "bytes=a-b", "pages=1-2", "bytes=1", "bytes=٣-٤"):
        answer = client.get(url, headers={"Range": text.encode()})
        assert (answer.status_code, answer.content) == (200, data), text
        assert answer.headers["accept-ranges"] == "bytes"
    problem(client.get(url, headers={"Range": "bytes=-0"}), 416)


def test_a_range_of_another_version_is_the_whole_file(picture: tuple[TestClient, str, bytes]) -> None:
    client, url, data = picture
    etag = client.get(url).headers["etag"]
    part = client.get(url, headers={"Range": "bytes=1-3", "If-Range": etag})
    assert (part.status_code, part.content) == (206, data[1:4])
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        whole = client.get(url, headers={"Range": "bytes=1-3", "If-Range": other})
        assert (whole.status_code, whole.content) == (200, data)


def test_head_says_what_get_would_bring(picture: tuple[TestClient, str, bytes]) -> None:
    client, url, data = picture
    for address in (url, url.replace("/file", "/thumbnail")):
        head, get = client.head(address), client.get(address)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-length", "content-type", "etag", "cache-control"):
            assert head.headers[name] == get.headers[name]
        known = client.head(address, headers={"If-None-Match": head.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")
    assert client.head(url).headers["content-length"] == str(len(data))


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    return Opener(BlobStore(tmp_path / "store"), max_bytes=10 << 20)


def file_of(folder: Path, data: bytes) -> tuple[Path, str]:
    path = folder / "picture"
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def test_a_file_that_is_written_to_while_it_is_sent_is_given_up(opener: Opener, tmp_path: Path) -> None:
    path, sha256 = file_of(tmp_path, os.urandom(1 << 20))
    opened = opener.open(str(path), sha256)
    assert len(opened.read(0, 1000)) == 1000
    path.rename(tmp_path / "elsewhere")  # a new name is no new picture
    assert len(opened.read(1000, 1000)) == 1000
    with (tmp_path / "elsewhere").open("r+b") as file:
        file.write(b"other")
    with pytest.raises(ImageRejected) as caught:
        opened.read(2000, 1000)
    assert caught.value.reason == "changed"
    opened.close()


def test_what_is_opened_is_what_was_compared(opener: Opener, tmp_path: Path) -> None:
    """Another file put in its place meanwhile is not what is read."""
    data = os.urandom(1 << 20)
    path, sha256 = file_of(tmp_path, data)
    opened = opener.open(str(path), sha256)
    other = tmp_path / "other"
    other.write_bytes(b"another picture")
    other.rename(path)
    assert opened.read(0, 2 << 20) == data
    opened.close()
    with pytest.raises(ImageRejected):
        opener.open(str(path), sha256)


def test_a_comparison_is_remembered_only_until_the_file_is_written_to(opener: Opener, tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    path, sha256 = file_of(tmp_path, data)
    long_ago = time.time() - 10 * SETTLED_SECONDS
    for _ in range(2):
        opener.open(str(path), sha256).close()
    with path.open("r+b") as file:
        file.write(bytes(len(data)))
    os.utime(path, (long_ago, long_ago))  # the times may lie, but not both of them
    with pytest.raises(ImageRejected):
        opener.open(str(path), sha256)


def test_pipes_and_long_files_are_refused(opener: Opener, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path, sha256 = file_of(tmp_path, bytes(11 << 20))
    for wrong, reason in ((pipe, "unreadable"), (path, "too_many_bytes"), (tmp_path / "no", "unreadable")):
        with pytest.raises(ImageRejected) as caught:
            opener.open(str(wrong), sha256)
        assert caught.value.reason == reason


@pytest.mark.parametrize("url", ["{folder}/store", "memory://opened-originals"])
def test_stored_originals_are_opened_wherever_the_store_is(url: str, tmp_path: Path) -> None:
    blobs = BlobStore(url.format(folder=tmp_path))
    data = os.urandom(3_000_000)
    sha256 = blobs.put(data)
    opener = Opener(blobs, max_bytes=10 << 20)
    opened = opener.open(f"{COPIED}{sha256}", sha256)
    blobs.put(data)  # touches it, which changes nothing
    assert opened.size == len(data)
    assert opened.read(1_000_000, 7) == data[1_000_000:1_000_007]
    opened.close()
    with pytest.raises(ImageRejected):
        opener.open(f"{COPIED}{sha256}", hashlib.sha256(b"other").hexdigest())
    with pytest.raises(ImageRejected):
        Opener(blobs, max_bytes=10).open(f"{COPIED}{sha256}", sha256)


def archive_of(kind: str, folder: Path, data: bytes) -> Path:
    """An archive with one member, ``a.png``."""
    path = folder / f"archive.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr("a.png", data)
    else:
        info = tarfile.TarInfo("a.png")
        info.size = len(data)
        with tarfile.open(path, "w:gz" if kind == "tgz" else "w") as made:
            made.addfile(info, BytesIO(data))
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_a_member_of_an_archive_is_never_whole_in_memory(kind: str, tmp_path: Path) -> None:
    data = os.urandom(64 << 10) * 768  # 48 MB
    uri = f"{archive_of(kind, tmp_path, data)}!/a.png"
    sha256 = hashlib.sha256(data).hexdigest()
    blobs = BlobStore(tmp_path / "store")
    tracemalloc.start()
    try:
        opened = Opener(blobs, max_bytes=len(data)).open(uri, sha256)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"{kind}: {peak / 2**20:.1f} MB for {len(data) >> 20} MB")
    assert peak < 8 << 20
    assert opened.read(len(data) - 7, 7) == data[-7:]
    assert opened.size == len(data)
    opened.close()
    with pytest.raises(ImageRejected, match="the limit is"):
        Opener(blobs, max_bytes=len(data) - 1).open(uri, sha256)
    with pytest.raises(ImageRejected) as caught:
        Opener(blobs, max_bytes=len(data)).open(uri, hashlib.sha256(b"").hexdigest())
    assert caught.value.reason == "changed"


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_damage_of_an_archive_is_said_when_its_member_is_opened(kind: str, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    path = archive_of(kind, tmp_path, data)
    with path.open("r+b") as file:
        file.seek(2 << 20)
        file.write(bytes(100))
    with pytest.raises(ImageRejected) as caught:
        Opener(BlobStore(tmp_path / "store"), len(data)).open(
            f"{path}!/a.png", hashlib.sha256(data).hexdigest()
        )
    assert caught.value.reason in ("unreadable", "truncated", "changed")


class Counted(BytesIO):
    """What an object store opens: no file of this machine. Notes how much is asked for at once."""

    asked: ClassVar[list[int]] = []

    def read(self, size: int | None = -1) -> bytes:
        self.asked.append(-1 if size is None else size)
        return super().read(size)


class Far(BlobStore):
    """A store elsewhere."""

    def open(self, sha256: str) -> BinaryIO:
        return Counted(self.get(sha256))


def test_an_original_in_an_object_store_is_read_piece_by_piece(tmp_path: Path) -> None:
    blobs, data = Far(tmp_path / "store"), os.urandom(5 << 20)
    sha256 = blobs.put(data)
    Counted.asked.clear()
    Opener(blobs, max_bytes=10 << 20).open(f"{COPIED}{sha256}", sha256).close()
    assert min(Counted.asked) > 0
    assert max(Counted.asked) <= 1 << 20
    assert len(Counted.asked) >= 5


@pytest.fixture
def large(settings: Settings, api_decoder: IsolatedDecoder, tmp_path: Path) -> Iterator[str]:
    """The address of an original of 100 MB: a picture, and zeros behind it."""
    path = tmp_path / "large.png"
    path.write_bytes(png("red"))
    os.truncate(path, LARGE)
    services = installation(settings, api_decoder)
    services.collections.create("pictures")
    services.indexer.index([str(path)], "pictures")
    services.indexer.run_pending()
    app = create_app(services.api_parts)
    with running(app) as url:
        (record,) = httpx.get(url + IMAGES, timeout=BOUND).json()["items"]
        yield url + record["file_url"]
    services.catalog.close()


def test_slow_readers_of_a_large_original_cost_little_memory(large: str) -> None:
    httpx.head(large, timeout=BOUND)
    before = psutil.Process().memory_info().rss
    with ExitStack() as stack:
        parts = []  # kept: a stream is closed with its iterator
        for _ in range(READERS):
            answer = stack.enter_context(httpx.stream("GET", large, timeout=BOUND))
            assert int(answer.headers["content-length"]) == LARGE
            parts.append(answer.iter_raw(1024))
            next(parts[-1])
        grown = psutil.Process().memory_info().rss - before
        print(f"{READERS} readers: {grown / 2**20:+.0f} MB")
        assert grown < 50 << 20
    whole = hashlib.sha256()
    with httpx.stream("GET", large, timeout=BOUND) as answer:
        for part in answer.iter_raw():
            whole.update(part)
    assert whole.hexdigest() == answer.headers["etag"].strip('"')


@dataclass
class Slow:
    """Originals on a disk that hangs until it may go on."""

    originals: Originals
    may_go_on: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def open(self, image: Image) -> OpenedOriginal:
        self.begun.release()
        assert self.may_go_on.wait(BOUND)
        return self.originals.open(image)


def test_originals_on_a_disk_that_hangs_hold_up_no_thumbnail(
    services: Installation, filled: TestClient
) -> None:
    (record,) = [item for item in filled.get(IMAGES).json()["items"] if item["id"] == "red"]
    slow = Slow(services.originals)
    app = create_app(replace(services.api_parts, originals=cast(Originals, slow)))
    with running(app) as url, ThreadPoolExecutor(8) as pool:
        try:
            asked = [pool.submit(httpx.get, url + record["file_url"], timeout=BOUND) for _ in range(6)]
            assert all(slow.begun.acquire(timeout=BOUND) for _ in range(2))
            shown = httpx.get(url + record["thumbnail_url"], timeout=BOUND / 4)
            assert shown.headers["content-type"] == "image/webp"
            assert not slow.begun.acquire(blocking=False)  # the other four have no thread
        finally:
            slow.may_go_on.set()
        assert {answer.result(BOUND).content for answer in asked} == {png("red")}


def test_no_file_is_left_open(large: str) -> None:
    def opened() -> list[str]:
        return [file.path for file in psutil.Process().open_files() if "large.png" in file.path]

    for _ in range(3):
        with httpx.stream("GET", large, timeout=BOUND) as answer:
            next(answer.iter_raw(1024))  # and away
    httpx.get(large, headers={"Range": f"bytes={LARGE}-"}, timeout=BOUND)
    deadline = time.monotonic() + BOUND
    while opened():
        assert time.monotonic() < deadline, opened()
        time.sleep(0.02)
