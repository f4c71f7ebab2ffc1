"""The composed service as processes on this machine: each command line of docker-compose.yml, on real
PostgreSQL and Redis.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightline.blip.toy import COLOURS
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.work_records import Progress
from tests.children import kill
from tests.services import free_port
from tests.sightline.conftest import save
from tests.sightline.http import finished, request, upload, wait

ROOT = Path(__file__).parents[2]
PICTURES = 300
LEASE_SECONDS = 4.0


class Composed:
    """Starts services as the compose file says, with the variables of this test."""

    def __init__(self, variables: dict[str, str]) -> None:
        compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
        self._services = compose["services"]
        self._environment = os.environ | variables
        self.processes: list[subprocess.Popen[bytes]] = []

    def command(self, service: str) -> list[str]:
        """The Dockerfile's entry point is ``sightline``."""
        return [sys.executable, "-m", "sightline", *self._services[service]["command"]]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command that ends."""
        command = [sys.executable, "-m", "sightline", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=300
        )

    def start(self, service: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.command(service), cwd=ROOT, env=self._environment, stderr=subprocess.DEVNULL
        )
        self.processes.append(process)
        return process


@pytest.fixture
def url() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def composed(
    postgres_url: str, redis_url: str, queue_name: str, url: str, tmp_path: Path
) -> Iterator[Composed]:
    variables = {
        "SIGHTLINE_DATA": str(tmp_path / "data"),
        "SIGHTLINE_DATABASE_URL": postgres_url,
        "SIGHTLINE_BROKER__URL": redis_url,
        "SIGHTLINE_BROKER__QUEUE": queue_name,
        "SIGHTLINE_MODEL__NAME": "toy",
        "SIGHTLINE_API__HOST": "127.0.0.1",
        "SIGHTLINE_API__PORT": url.rsplit(":", 1)[1],
        "SIGHTLINE_INDEXER__BATCH_SIZE": "8",
        "SIGHTLINE_INDEXER__LEASE_SECONDS": str(LEASE_SECONDS),
        "SIGHTLINE_BUILDER__RESEND_SECONDS": "5",
        "SIGHTLINE_BUILDER__FOLD_IDLE_SECONDS": "1",
    }
    composed = Composed(variables)
    try:
        migrate = subprocess.run(
            composed.command("migrate"), cwd=ROOT, env=os.environ | variables, timeout=300
        )
        assert migrate.returncode == 0
        yield composed
    finally:
        for process in composed.processes:
            kill(process)


@pytest.fixture
def catalog(composed: Composed, postgres_url: str) -> Iterator[Catalog]:
    """To watch the work without starting a command each time."""
    catalog = open_catalog(postgres_url, migrate=False)
    yield catalog
    catalog.close()


def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.1)


@pytest.mark.timeout(900)
def test_the_composed_service_indexes_searches_and_stops(composed: Composed, url: str) -> None:
    processes = [composed.start(service) for service in ("worker", "builder", "api")]
    wait(f"{url}/readyz", 120)
    request(f"{url}/v1/collections", {"name": "pictures"})
    for name, quarters in {"halves": ("red", "blue"), "purple": ("purple",)}.items():
        job = upload(f"{url}/v1/collections/pictures/images", f"{name}.png", *quarters)["job"]
        finished(url, job["id"])
    found = request(f"{url}/v1/collections/pictures/search", {"text": "red blue"})["results"]
    assert len(found) == 2
    assert found[0]["match_probability"] > found[1]["match_probability"]
    assert composed.run("ping", "worker").returncode == 0
    assert composed.run("ping", "builder").returncode == 0
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_picture_exactly_once_while_workers_are_killed_and_stopped(
    composed: Composed, catalog: Catalog, tmp_path: Path
) -> None:
    colours = sorted(COLOURS)
    for number in range(PICTURES):
        pair = (colours[number % len(colours)], colours[number // len(colours) % len(colours)])
        save(tmp_path / "pictures", f"{number:03d}", *pair)
    registered = composed.run("index", str(tmp_path / "pictures"), "-c", "pictures", "--no-wait", "--json")
    assert registered.returncode == 0, registered.stderr
    job_id = json.loads(registered.stdout)["job"]

    def job() -> Progress:
        return catalog.job_progress(job_id)

    composed.start("builder")
    sleeper, victim = composed.start("worker"), composed.start("worker")
    until(lambda: job().indexed > 0)
    sleeper.send_signal(signal.SIGSTOP)
    for _ in range(2):
        kill(victim)
        victim = composed.start("worker")
        time.sleep(LEASE_SECONDS)
    sleeper.send_signal(signal.SIGCONT)
    until(lambda: job().state == "done", 300)

    counts = job()
    assert (counts.indexed, counts.failed, counts.replaced) == (PICTURES, 0, 0)
    again = composed.run("index", str(tmp_path / "pictures"), "-c", "pictures", "--json")
    assert json.loads(again.stdout)["unchanged"] == PICTURES
    doctor = composed.run("doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout
    found = json.loads(composed.run("search", "red", "-c", "pictures", "-k", "1000", "--json").stdout)
    assert sorted(hit["id"] for hit in found["results"]) == [
        f"{number:03d}.png" for number in range(PICTURES)
    ]
