"""While the database hangs, searches are answered with 503 and health is told; a full disk is a sentence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sightline.api.app import create_app
from sightline.api.server import running
from sightline.imaging import IsolatedDecoder
from sightline.settings import Settings
from sightline.store.settings import DatabaseSettings
from sightline.wiring import Installation
from tests.api.conftest import installation
from tests.api.installation import problem
from tests.services import own_postgres
from tests.stopped import OwnPostgres

SEARCH = "/v1/collections/pictures/search"
MANY = 48
"""More than the framework has threads for everything."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    with own_postgres(tmp_path_factory.mktemp("stopped")) as (url, folder):
        yield OwnPostgres(f"{url}/postgres", folder)


@pytest.fixture
def behind(
    server: OwnPostgres, settings: Settings, api_decoder: IsolatedDecoder
) -> Iterator[tuple[Installation, str]]:
    """An installation on that server, and its address."""
    limits = DatabaseSettings(connect_seconds=0.3, request_seconds=0.5, rest_seconds=0.5)
    changed = settings.model_copy(update={"database_url": server.url, "database": limits})
    services = installation(changed, api_decoder)
    services.collections.create("pictures")
    services.warm_up.start()
    with running(create_app(services.api_parts)) as url:
        yield services, url
    services.scheduler.close()
    services.catalog.close()


@pytest.mark.services
def test_while_the_database_hangs_requests_get_503_and_health_answers(
    behind: tuple[Installation, str], server: OwnPostgres
) -> None:
    _, url = behind
    with httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(MANY) as pool:
        assert client.post(SEARCH, json={"text": "red"}).status_code == 200
        with server.stopped():
            asked = [
                pool.submit(httpx.post, f"{url}{SEARCH}", json={"text": "red"}, timeout=60)
                for _ in range(MANY)
            ]
            asked += [
                pool.submit(httpx.get, f"{url}/v1/collections/pictures/images", timeout=60)
                for _ in range(MANY)
            ]
            for _ in range(3):
                # Before these limits, neither searches nor health answered in this time.
                assert client.get("/livez", timeout=20).status_code == 200
                health = client.get("/readyz", timeout=20)
                assert health.status_code == 503
                assert health.json()["checks"]["database"]["ready"] is False
            for future in asked:
                answer = future.result(60)
                assert int(problem(answer, 503)["status"]) == 503
                assert int(answer.headers["retry-after"]) > 0
        assert_used_again(client)


def assert_used_again(client: httpx.Client) -> None:
    """Somebody tries it every half second; nobody restarts anything."""
    again = threading.Event()
    for _ in range(100):
        if client.post(SEARCH, json={"text": "red"}).status_code == 200:
            break
        again.wait(0.1)
    assert client.post(SEARCH, json={"text": "red"}).status_code == 200
    assert client.get("/readyz").status_code == 200
