"""The queue in front of the model, seen over HTTP."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from starlette.types import Message

from sightline.api.app import create_app
from sightline.api.dependencies import ModelThreads
from sightline.api.server import running
from sightline.errors import OverloadedError
from sightline.imaging import IsolatedDecoder
from sightline.serving.queue import Ticket
from sightline.serving.scheduler import client_gone
from sightline.settings import ServingSettings, Settings
from sightline.wiring import Installation
from tests.api.conftest import installation
from tests.api.installation import problem

WAITING = 3
SEARCH = "/v1/collections/pictures/search"


@pytest.fixture
def held(settings: Settings, api_decoder: IsolatedDecoder) -> Iterator[tuple[Installation, threading.Event]]:
    """An installation whose model is busy until the event is set; three requests may wait."""
    changed = settings.model_copy(update={"serving": replace(ServingSettings(), max_waiting=WAITING)})
    services, release = installation(changed, api_decoder), threading.Event()
    services.collections.create("pictures")
    busy = threading.Thread(target=services.scheduler.turn, args=(Ticket(), lambda: release.wait(20)))
    busy.start()
    yield services, release
    release.set()
    busy.join(timeout=20)
    services.scheduler.close()
    services.catalog.close()  # not the decoder, which all tests share


def until_all_wait(services: Installation, requests: list[Future[httpx.Response]]) -> None:
    """Until every request stands in the line."""
    deadline = time.monotonic() + 20
    while services.scheduler.figures().turns < len(requests):
        assert time.monotonic() < deadline, "not all requests came to wait"
        assert not any(request.done() for request in requests)
        time.sleep(0.005)


def test_beyond_the_queue_requests_are_refused_at_once_and_the_others_answered(
    held: tuple[Installation, threading.Event],
) -> None:
    services, release = held
    with (
        running(create_app(services.api_parts)) as url,
        httpx.Client(base_url=url, timeout=20) as client,
        ThreadPoolExecutor(WAITING) as pool,
    ):
        waiting = [
            pool.submit(httpx.post, f"{url}{SEARCH}", json={"text": "red"}, timeout=20)
            for _ in range(WAITING)
        ]
        until_all_wait(services, waiting)
        refused = client.post(SEARCH, json={"text": "red"})
        assert problem(refused, 503)["type"].endswith(":overloaded")
        assert int(refused.headers["retry-after"]) > 0
        # Nothing else waits for the model.
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
        text = client.get("/metrics").text
        assert f"sightline_model_requests {float(WAITING)}" in text
        assert f"sightline_model_queue_length {float(WAITING)}" in text
        assert "sightline_model_requests_refused_total 1.0" in text
        release.set()
        assert [future.result(20).status_code for future in waiting] == [200] * WAITING
        text = client.get("/metrics").text
        assert re.search(r"^sightline_model_requests 0.0$", text, re.M)
        assert f"sightline_model_wait_duration_seconds_count {float(WAITING)}" in text
        assert "sightline_text_batches_total 1.0" in text


def test_reranking_and_the_page_stand_in_the_same_line(held: tuple[Installation, threading.Event]) -> None:
    services, release = held
    with running(create_app(services.api_parts)) as url, ThreadPoolExecutor(WAITING) as pool:
        waiting = [
            pool.submit(httpx.post, f"{url}{SEARCH}", json={"text": "red"}, timeout=20)
            for _ in range(WAITING)
        ]
        until_all_wait(services, waiting)
        documents = [{"id": "a", "collection": "pictures"}]
        documents += [{"image": "data:image/png;base64,"}]  # would be 422, were it looked at
        asked = httpx.post(f"{url}/v1/rerank", json={"query": "red", "documents": documents}, timeout=20)
        assert problem(asked, 503)["type"].endswith(":overloaded")
        assert httpx.get(f"{url}/", params={"q": "red", "collection": "pictures"}).status_code == 503
        with pytest.raises(OverloadedError), services.scheduler.admit():
            pass
        release.set()


def test_work_is_told_when_its_client_hangs_up() -> None:
    messages: list[Message] = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return messages.pop(0)

    def work() -> bool:
        gone = client_gone.get()
        return gone is not None and gone.wait(20)

    assert asyncio.run(ModelThreads(1).run(receive, work))


def test_work_whose_client_stays_is_not_disturbed() -> None:
    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("the answer did not end the waiting")

    def work() -> bool:
        gone = client_gone.get()
        return gone is not None and not gone.is_set()

    assert asyncio.run(ModelThreads(1).run(receive, work))
