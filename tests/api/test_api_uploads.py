"""Uploads are never whole in memory, and only so many are received at once."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from sightline.api.app import create_app
from sightline.api.server import running
from sightline.imaging import IsolatedDecoder
from sightline.settings import Settings
from sightline.store.blobs import BlobStore
from sightline.wiring import Installation
from tests.api.conftest import installation
from tests.api.installation import png, problem

BOUND = 120
IMAGES = "/v1/collections/pictures/images"
CLIENTS = 8
LARGE = 40 << 20


@pytest.fixture
def served(settings: Settings, api_decoder: IsolatedDecoder) -> Iterator[tuple[str, Installation]]:
    limited = replace(settings.api, max_uploads=CLIENTS)
    services = installation(settings.model_copy(update={"api": limited}), api_decoder)
    services.collections.create("pictures")
    with running(create_app(services.api_parts)) as url:
        yield url, services
    services.catalog.close()


def test_large_uploads_side_by_side_cost_little_memory(
    served: tuple[str, Installation], tmp_path: Path
) -> None:
    url, services = served
    paths = [tmp_path / str(number) for number in range(CLIENTS)]
    for path in paths:
        path.write_bytes(os.urandom(1000))
        os.truncate(path, LARGE)
    process = psutil.Process()
    before, most = process.memory_info().rss, 0

    def send(path: Path) -> str:
        with path.open("rb") as file:
            answer = httpx.post(url + IMAGES, files=[("files", (path.name, file))], timeout=BOUND)
        assert answer.status_code == 202
        return str(answer.json()["files"][0]["id"])

    with ThreadPoolExecutor(CLIENTS) as pool:
        sent = [pool.submit(send, path) for path in paths]
        deadline = time.monotonic() + BOUND
        while not all(future.done() for future in sent):
            assert time.monotonic() < deadline
            most = max(most, process.memory_info().rss)
            time.sleep(0.005)
    print(f"{CLIENTS} uploads of {LARGE >> 20} MB: {(most - before) / 2**20:+.0f} MB")
    assert most - before < 100 << 20
    for path, future in zip(paths, sent, strict=True):
        with path.open("rb") as file, services.blobs.open(future.result(BOUND)) as kept:
            wanted = hashlib.file_digest(file, "sha256").hexdigest()
            assert hashlib.file_digest(kept, "sha256").hexdigest() == wanted == future.result(BOUND)


def test_beyond_the_limit_uploads_are_refused_before_their_bytes_come(
    served: tuple[str, Installation],
) -> None:
    url, _ = served
    address = urlsplit(url)
    head = f"POST {IMAGES} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.create_connection((address.hostname, address.port), BOUND))
            client.sendall(f"{head}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n".encode())
            assert client.recv(25).startswith(b"HTTP/1.1 100")  # it was let in
        refused = httpx.post(url + IMAGES, files=[("files", ("a", png("red")))], timeout=BOUND)
        assert problem(refused, 503)["type"].endswith(":overloaded")
        assert int(refused.headers["retry-after"]) > 0
        assert httpx.get(f"{url}{IMAGES}", timeout=BOUND).status_code == 200
    deadline = time.monotonic() + BOUND
    files = [("files", ("a", png("red")))]
    while httpx.post(url + IMAGES, files=files, timeout=BOUND).status_code != 202:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("url", ["{folder}/store", "memory://put-files"])
def test_a_file_is_kept_as_its_bytes_are(url: str, tmp_path: Path) -> None:
    store = BlobStore(url.format(folder=tmp_path))
    for size in (0, 1, 1 << 20, (9 << 20) + 1):
        data = os.urandom(size)
        path = tmp_path / "source"
        path.write_bytes(data)
        for _ in range(2):
            with path.open("rb") as file:
                assert store.put_file(file) == hashlib.sha256(data).hexdigest() == store.put(data)
        assert store.get(hashlib.sha256(data).hexdigest()) == data


def test_rotten_bytes_are_written_again_from_a_file(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "store")
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 << 20))
    with source.open("rb") as file:
        sha256 = store.put_file(file)
        kept = tmp_path / "store/originals" / sha256[:2] / sha256
        with kept.open("r+b") as rotten:
            rotten.seek(2 << 20)
            rotten.write(b"rot")
        store.put_file(file)
    assert store.get_sound(sha256) == source.read_bytes()
