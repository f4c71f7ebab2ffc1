"""Jobs that are posted in a loop: few are listed at once, some wait, the rest are told to come again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.api.parts import ApiParts
from sightline.indexer.indexer import Indexer
from sightline.store.records import Job
from sightline.wiring import Installation
from tests.api.conftest import installation
from tests.api.installation import png, problem

AT_ONCE, ACCEPTED, POSTED = 4, 36, 60
BOUND = 60
JOBS = "/v1/collections/pictures/jobs"


@dataclass
class Held:
    """An indexer whose listings do not end before they may, as those of a slow disk."""

    indexer: Indexer
    may_end: threading.Event = field(default_factory=threading.Event)
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    entered: list[str] = field(default_factory=list)
    inside: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, *args: Any, **options: Any) -> Job:
        return self.indexer.begin(*args, **options)

    def register(self, job_id: str) -> None:
        with self.lock:
            self.entered.append(job_id)
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.may_end.wait(BOUND)
        try:
            self.indexer.register(job_id)
        finally:
            with self.lock:
                self.inside -= 1
            self.ended.release()


@pytest.fixture
def held(settings: Any, api_decoder: Any, tmp_path: Path) -> Iterator[tuple[TestClient, Held, Installation]]:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "red.png").write_bytes(png("red"))
    changed = replace(settings.api, source_roots=(str(tmp_path / "open"),))
    services = installation(settings.model_copy(update={"api": changed}), api_decoder)
    indexer = Held(services.indexer)
    parts: ApiParts = replace(services.api_parts, indexer=cast(Indexer, indexer))
    client = TestClient(create_app(parts), raise_server_exceptions=False)
    client.post("/v1/collections", json={"name": "pictures"})
    yield client, indexer, services
    indexer.may_end.set()
    services.catalog.close()


def test_posted_jobs_are_listed_by_few_threads_and_the_rest_is_refused(
    held: tuple[TestClient, Held, Installation], tmp_path: Path
) -> None:
    client, indexer, services = held
    before = threading.active_count()
    body = {"sources": [str(tmp_path / "open")]}
    answers = [client.post(JOBS, json=body) for _ in range(POSTED)]
    assert indexer.inside <= AT_ONCE
    assert threading.active_count() - before <= AT_ONCE + 8  # threads of the client among them
    assert [answer.status_code for answer in answers] == [202] * ACCEPTED + [503] * (POSTED - ACCEPTED)
    for answer in answers[ACCEPTED:]:
        assert int(answer.headers["retry-after"]) > 0
        assert "at once" in problem(answer, 503)["detail"]
    accepted = [answer.json()["id"] for answer in answers[:ACCEPTED]]
    assert len(services.catalog.jobs("pictures", 500, None)) == ACCEPTED  # a refused one leaves no job
    cancelled = accepted.pop()
    assert client.post(f"/v1/jobs/{cancelled}/cancel").status_code == 200
    indexer.may_end.set()
    for _ in accepted:
        assert indexer.ended.acquire(timeout=BOUND)
    assert (indexer.most, set(indexer.entered)) == (AT_ONCE, set(accepted))
    assert {services.catalog.job(job_id).state for job_id in accepted} <= {"running", "done"}
    assert client.post(JOBS, json=body).status_code == 202


def test_a_job_that_is_refused_for_itself_takes_nobodys_place(
    held: tuple[TestClient, Held, Installation], tmp_path: Path
) -> None:
    client = held[0]
    wrong = {"sources": [str(tmp_path / "open")], "moved_from": "/nowhere"}
    assert {client.post(JOBS, json=wrong).status_code for _ in range(ACCEPTED + 1)} == {422}
    assert client.post(JOBS, json={"sources": [str(tmp_path / "open")]}).status_code == 202
