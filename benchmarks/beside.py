"""How long a search takes beside other clients, compared with alone: rounds side by side in one run.

``python -m benchmarks.beside [ROUNDS]``. The demo collection behind ``sightline serve``; the others are a
process of their own: four that load thumbnails one after the other, then 150 that follow a job.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.http_client import running_server
from benchmarks.http_overhead import _fill, _random_demo_model, _settings
from sightline.blip.checkpoint import DEMO, DEMO_FOLDER
from sightline.cli.demo_run import COLLECTION

GOAL = 1.2
THUMBNAIL_CLIENTS = 4
FOLLOWERS = 150
SEARCHES = 20
PICTURES = 24


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = DEMO if DEMO_FOLDER.exists() else _random_demo_model(folder / "model")
        settings = _settings(folder / "data", model)
        _fill(settings, folder, PICTURES)
        with (folder / "log").open("wb") as log, running_server(settings, log) as server:
            paths = _thumbnails(server.port)
            _search_ms(server.port)
            for what, others in (
                (f"{THUMBNAIL_CLIENTS} thumbnail clients", ["thumbnails", *paths]),
                (f"{FOLLOWERS} followers of a job", ["followers", _open_job(server.port)]),
            ):
                alone, beside = [], []
                for _ in range(rounds):
                    alone.append(_search_ms(server.port))
                    with _clients(server.port, others):
                        beside.append(_search_ms(server.port))
                ratio = median(b / a for a, b in zip(alone, beside, strict=True))
                print(
                    f"search beside {what}: {median(beside):.1f} ms, alone {median(alone):.1f} ms, "
                    f"{ratio:.2f} times (goal {GOAL:g})"
                )


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None) -> bytes:
    connection.request(method, path, body, {"Content-Type": "application/json"})
    return connection.getresponse().read()


def _search_ms(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    path, times = f"/v1/collections/{COLLECTION}/search", []
    for number in range(SEARCHES):
        began = time.perf_counter()
        _ask(connection, "POST", path, json.dumps({"text": f"a red circle {number}", "candidates": PICTURES}))
        times.append((time.perf_counter() - began) * 1000)
    connection.close()
    return median(times)


def _thumbnails(port: int) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    items = json.loads(_ask(connection, "GET", f"/v1/collections/{COLLECTION}/images?limit=100"))["items"]
    return [item["thumbnail_url"] for item in items]


def _open_job(port: int) -> str:
    """A job that no worker ends: its pictures wait."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = '--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nwaits\r\n--b--\r\n'
    head = {"Content-Type": "multipart/form-data; boundary=b"}
    connection.request("POST", f"/v1/collections/{COLLECTION}/images", body, head)
    return str(json.loads(connection.getresponse().read())["job"]["events_url"])


@contextmanager
def _clients(port: int, others: list[str]) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.beside", "--as-clients", str(port), *others]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait(30)


def _as_clients(port: int, kind: str, paths: list[str]) -> None:
    """Until killed. Says when all are busy."""
    connections = [
        http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(THUMBNAIL_CLIENTS if kind == "thumbnails" else FOLLOWERS)
    ]
    if kind == "followers":
        for connection in connections:
            connection.request("GET", paths[0])
            connection.getresponse()
        print("ready", flush=True)
        time.sleep(600)
        return
    for connection in connections:
        threading.Thread(target=_load, args=(connection, paths), daemon=True).start()
    print("ready", flush=True)
    time.sleep(600)


def _load(connection: http.client.HTTPConnection, paths: list[str]) -> None:
    until = time.monotonic() + 600
    while time.monotonic() < until:
        for path in paths:
            _ask(connection, "GET", path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-clients"]:
        _as_clients(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        main()
