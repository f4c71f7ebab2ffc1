"""A real installation behind the real application: the toy model, a SQLite catalog, a decoder, no queue.

Work that a worker would do is done by ``services.indexer.run_pending()``. Building an installation is slow,
so it is built once and copied; tests that only read share one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.imaging import IsolatedDecoder
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.api.installation import SHADES, MakeClient, png, upload


def nowhere(task_ids: Sequence[int]) -> None:
    """Messages are only hints; these tests do the work themselves."""


def settings_for(folder: Path) -> Settings:
    """Settings of an installation whose model is the toy."""
    empty = Settings(data=folder)
    # What starlette's TestClient calls us; answers as those who run a server see them.
    api = replace(empty.api, allowed_hosts=("testserver",), show_details=True, show_uris=True)
    return empty.model_copy(update={"model": replace(empty.model, name="toy"), "api": api})


@pytest.fixture(scope="session")
def api_decoder() -> Iterator[IsolatedDecoder]:
    """One decoder for all: starting its process takes a second."""
    with IsolatedDecoder() as decoder:
        yield decoder


def installation(settings: Settings, decoder: IsolatedDecoder) -> Installation:
    """Installation that share the decoder, and do not close it."""
    return open_installation(settings, send=nowhere, decoder=decoder)


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of an installation without collections."""
    folder = tmp_path_factory.mktemp("api-empty") / "data"
    with open_installation(settings_for(folder), send=nowhere) as services:
        assert services.catalog.collections() == []
    return folder


@pytest.fixture(scope="session")
def filled_folder(
    tmp_path_factory: pytest.TempPathFactory, empty_folder: Path, api_decoder: IsolatedDecoder
) -> Path:
    """The data folder of an installation whose collection ``pictures`` holds SHADES, searchable."""
    folder = tmp_path_factory.mktemp("api-filled") / "data"
    shutil.copytree(empty_folder, folder)
    services = installation(settings_for(folder), api_decoder)
    client = TestClient(create_app(services.api_parts))
    client.post("/v1/collections", json={"name": "pictures"})
    files = {name: png(*quarters) for name, quarters in SHADES.items()}
    items = {name: {"caption": f"all {name}", "metadata": {"length": len(name)}} for name in SHADES}
    upload(client, files, **items)
    services.indexer.run_pending()
    services.catalog.close()
    return folder


@pytest.fixture(scope="session")
def library(filled_folder: Path, api_decoder: IsolatedDecoder) -> Iterator[TestClient]:
    """A client of the filled installation that all reading tests share."""
    services = installation(settings_for(filled_folder), api_decoder)
    with TestClient(create_app(services.api_parts), raise_server_exceptions=False) as client:
        yield client
    services.catalog.close()


@pytest.fixture
def settings(tmp_path: Path, empty_folder: Path) -> Settings:
    """An empty installation of this test's own."""
    shutil.copytree(empty_folder, tmp_path / "data")
    return settings_for(tmp_path / "data")


@pytest.fixture
def services(settings: Settings, api_decoder: IsolatedDecoder) -> Iterator[Installation]:
    """Its services. Nothing is sent anywhere."""
    services = installation(settings, api_decoder)
    yield services
    services.catalog.close()


@pytest.fixture
def client(services: Installation) -> Iterator[TestClient]:
    """A client of the empty installation."""
    with TestClient(create_app(services.api_parts), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def filled(settings: Settings, filled_folder: Path, request: pytest.FixtureRequest) -> TestClient:
    """A client of a filled installation that this test may change (``services`` are its services)."""
    shutil.rmtree(settings.data_folder)
    shutil.copytree(filled_folder, settings.data_folder)
    client: TestClient = request.getfixturevalue("client")
    return client


@pytest.fixture
def make_client(settings: Settings, api_decoder: IsolatedDecoder) -> Iterator[MakeClient]:
    """Clients of installations that differ in some API settings: ``make_client(key="…")``."""
    made: list[Installation] = []

    def make(**changes: Any) -> TestClient:
        changed = settings.model_copy(update={"api": replace(settings.api, **changes)})
        made.append(installation(changed, api_decoder))
        prefix = changes.get("root_path", "")  # the server's business, as with uvicorn
        return TestClient(create_app(made[-1].api_parts), raise_server_exceptions=False, root_path=prefix)

    yield make
    for services in made:
        services.catalog.close()
