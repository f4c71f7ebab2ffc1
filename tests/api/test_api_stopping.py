"""SIGTERM with a full queue: who is in hand is answered, who waits is told, and nobody meets a traceback."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sightline.settings import environment
from tests.api.conftest import settings_for
from tests.api.installation import png, problem, upload
from tests.children import kill, read_line

QUEUED = 128
BOUND = 60


@dataclass
class Server:
    """A running server whose model is held."""

    process: subprocess.Popen[str]
    url: str
    data: Path
    errors: Path

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + BOUND
        while not true():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.02)

    def let_go(self) -> None:
        (self.data / "go").touch()

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics", timeout=BOUND).text
        found = re.search(rf"^{name} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0


@pytest.fixture
def server(tmp_path: Path, filled_folder: Path) -> Iterator[Server]:
    data, errors = tmp_path / "data", tmp_path / "stderr"
    shutil.copytree(filled_folder, data)
    limits = {"SIGHTLINE_SERVING__GRACE_SECONDS": str(BOUND), "OMP_NUM_THREADS": "1"}
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.api.slow_server"],
            env=os.environ | environment(settings_for(data)) | limits,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        url = f"http://127.0.0.1:{read_line(process)}"
        found = Server(process, url, data, errors)
        found.until(lambda: _ready(url))
        yield found
    finally:
        kill(process)
        process.communicate(timeout=BOUND)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=BOUND).status_code == 200
    except httpx.TransportError:
        return False


def fill_queue(server: Server, pool: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    """As many searches as may wait, all of them waiting."""
    address = f"{server.url}/v1/collections/pictures/search"
    asked = [pool.submit(httpx.post, address, json={"text": "red"}, timeout=BOUND) for _ in range(QUEUED)]
    server.until(lambda: server.metric("sightline_model_requests") == QUEUED)
    server.until(lambda: server.metric("sightline_model_queue_length") >= QUEUED - 1)
    return asked


def answered(asked: list[Future[httpx.Response]]) -> int:
    return sum(future.done() for future in asked)


def assert_told(answers: list[httpx.Response]) -> None:
    for answer in answers:
        assert int(answer.headers["retry-after"]) > 0
        assert "being stopped" in problem(answer, 503)["detail"]


def test_who_is_in_hand_is_answered_and_who_waits_gets_503(server: Server) -> None:
    with ThreadPoolExecutor(QUEUED + 1) as pool:
        with httpx.Client(base_url=server.url, timeout=BOUND) as client:  # type: ignore[arg-type]
            job = upload(client, {"new": png("yellow")})["job"]  # type: ignore[arg-type]
        followed = pool.submit(httpx.get, f"{server.url}{job['events_url']}", timeout=BOUND)
        asked = fill_queue(server, pool)
        server.process.send_signal(signal.SIGTERM)
        server.until(lambda: answered(asked) > 0)
        told = [future.result(0) for future in asked if future.done()]
        assert_told(told)
        server.let_go()
        answers = [future.result(BOUND) for future in asked]
        counts = Counter(answer.status_code for answer in answers)
        assert set(counts) == {200, 503}
        assert counts[503] >= len(told)
        assert counts[200] + counts[503] == QUEUED
        assert_told([answer for answer in answers if answer.status_code == 503])
        assert "event: progress" in followed.result(BOUND).text
    assert server.process.wait(timeout=BOUND) == 0
    assert "Traceback" not in server.errors.read_text()


def test_a_second_signal_ends_the_time_of_grace_and_everybody_is_told(server: Server) -> None:
    with ThreadPoolExecutor(QUEUED) as pool:
        asked = fill_queue(server, pool)
        server.process.send_signal(signal.SIGINT)
        server.until(lambda: answered(asked) > 0)
        server.process.send_signal(signal.SIGTERM)
        answers = [future.result(BOUND) for future in asked]
        assert_told(answers)
        server.let_go()
    assert server.process.wait(timeout=BOUND) == 0
    assert "Traceback" not in server.errors.read_text()
