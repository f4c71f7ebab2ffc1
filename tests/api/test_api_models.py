"""Which models a request may name, and who waits for one that takes long: nobody who asks for another."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.errors import OverloadedError, UnavailableError
from sightline.serving.flights import Flights
from sightline.serving.models import Identity, ModelProvider
from sightline.wiring import Installation, open_installation
from tests.api.conftest import nowhere
from tests.api.installation import problem


class Recording(ModelProvider):
    """The real provider, which remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str | None]] = []

    def identify(self, model: str, revision: str | None = None) -> Identity:
        """As ever."""
        self.asked.append((model, revision))
        return super().identify(model, revision)


def bind(services: Installation, name: str, model: str, revision: str | None = None) -> None:
    """A collection of a model that is not at hand."""
    services.catalog.create_collection(
        name, model=model, revision=revision, fingerprint="f" * 64, num_query_tokens=32, joint_dim=256
    )


@pytest.fixture
def recorded(services: Installation) -> Iterator[tuple[TestClient, Recording]]:
    models = Recording()
    api = replace(services.settings.api, models=("listed/one@v1",))
    settings = services.settings.model_copy(update={"api": api})
    bind(services, "old", "bound/one", "c" * 40)
    with open_installation(settings, models=models, catalog=services.catalog, send=nowhere) as installed:
        yield TestClient(create_app(installed.api_parts), raise_server_exceptions=False), models


@pytest.mark.parametrize(
    "asked",
    [
        {"model": "Salesforce/blip2-itm-vit-g"},
        {"model": "listed/one", "revision": "v2"},
        {"model": "bound/one", "revision": "main"},
        {"model": "toy", "revision": "main"},
        {"model": "demo", "revision": "main"},
        {"revision": "main"},
    ],
)
def test_a_model_that_is_not_served_is_asked_of_nobody(
    recorded: tuple[TestClient, Recording], asked: dict[str, str]
) -> None:
    client, models = recorded
    problem(client.post("/v1/collections", json={"name": "new", **asked}), 403)
    assert models.asked == []


def test_a_model_of_another_collection_is_taken_as_it_is(recorded: tuple[TestClient, Recording]) -> None:
    client, models = recorded
    answer = client.post("/v1/collections", json={"name": "new", "model": "bound/one"})
    assert (answer.status_code, answer.json()["revision"]) == (201, "c" * 40)
    assert models.asked == []


def test_a_listed_model_is_asked_for_in_the_listed_revision(
    services: Installation, recorded: tuple[TestClient, Recording]
) -> None:
    found = services_of(recorded[0]).find("listed/one")
    assert found is not None
    assert (found.model, found.revision, found.bound) == ("listed/one", "v1", None)
    shipped = recorded[0].post("/v1/collections", json={"name": "shipped", "model": "demo"})
    assert shipped.status_code == 201
    assert recorded[1].asked == [("demo", None)]


def services_of(client: TestClient) -> object:
    return client.app.state.parts.served  # type: ignore[attr-defined]


@contextmanager
def blocked_model(folder: Path) -> Iterator[Path]:
    """A model one of whose files is a pipe: whoever reads it waits until the block ends."""
    folder.mkdir()
    shutil.copy(DEMO_FOLDER / "config.json", folder)
    pipe = folder / "preprocessor_config.json"
    os.mkfifo(pipe)
    try:
        yield folder
    finally:
        for _ in range(3):  # somebody may have come late
            with pipe.open("r+b", buffering=0) as end:
                end.write(b"{}")
        pipe.unlink()
        pipe.write_text("{}")


def test_searches_of_other_collections_go_on_while_a_model_cannot_be_had(
    services: Installation, client: TestClient, tmp_path: Path
) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    waiting: list[Future[httpx.Response]] = []
    with ThreadPoolExecutor(8) as threads, blocked_model(tmp_path / "model") as model:
        bind(services, "slow", str(model))
        for _ in range(8):
            waiting.append(threads.submit(client.post, "/v1/collections/slow/search", json={"text": "red"}))
        for name in ("pictures", "more"):
            assert client.post("/v1/collections", json={"name": name}).status_code in (200, 201)
            answer = client.post(f"/v1/collections/{name}/search", json={"text": "red"})
            assert answer.status_code == 200
        assert not any(one.done() for one in waiting)
    assert {one.result(60).status_code for one in waiting} <= {422, 503}


def test_one_makes_it_and_the_others_get_the_same() -> None:
    flights, may_end, made = Flights[str, object]("it"), threading.Event(), []

    def make() -> object:
        assert may_end.wait(30)
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(flights.get, "a", make) for _ in range(4)]
        assert flights.get("b", lambda: "other") == "other"
        assert flights.made() == ["b"]
        may_end.set()
        assert {one.result(30) for one in asked} == {made[0]}
    assert len(made) == 1


def test_who_waits_is_told_after_a_while_and_not_too_many_wait() -> None:
    flights, begun, may_end = (
        Flights[str, int]("it", seconds=0.2, most=1),
        threading.Event(),
        threading.Event(),
    )

    def make() -> int:
        begun.set()
        assert may_end.wait(30)
        raise OSError("lost")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(flights.get, "a", make)
        assert begun.wait(30)
        with pytest.raises(UnavailableError, match="still busy with it"):
            flights.get("a", lambda: 1)
        crowded = Flights[str, int]("it", most=0)
        inner = threads.submit(crowded.get, "a", lambda: may_end.wait(30) + 0)
        while not crowded._flying:
            begun.wait(0.01)
        with pytest.raises(OverloadedError):
            crowded.get("a", lambda: 1)
        may_end.set()
        assert inner.result(30) == 1
        with pytest.raises(OSError, match="lost"):
            first.result(30)
    assert flights.get("a", lambda: 2) == 2  # an error is forgotten
