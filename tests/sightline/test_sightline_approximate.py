"""What answers say of an approximate index: over HTTP, as events, on the page, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from sightline.api.app import create_app
from sightline.errors import InputError
from sightline.records import SearchRequest
from sightline.settings import Settings
from sightline.store.index import BuildRequest
from sightline.store.records import Generation
from sightline.wiring import Installation
from tests.sightline.conftest import Run, index, save
from tests.store.sampled_index import SampledBackend, is_known

COLOURS = ("red", "green", "blue", "white", "black", "yellow")


@pytest.fixture
def sampled(services: Installation, settings: Settings, tmp_path: Path) -> Installation:
    """Six pictures in a generation that finds half of them, and two outside of it."""
    for colour in COLOURS:
        save(tmp_path / "pictures", colour, colour)
    index(services, tmp_path / "pictures")
    backend = SampledBackend(tmp_path / "sampled")
    services.indexes.backends["sampled"] = backend  # type: ignore[index]
    snapshot = services.catalog.snapshot("pictures")
    built = backend.build(services.segments, BuildRequest(snapshot.segments, snapshot.gone))
    generation = Generation(
        snapshot.collection.feature_set_id, 1, built.file, built.sha256, built.covered, built.images, 0.0,
        kind="sampled",
    )  # fmt: skip
    assert services.catalog.publish_generation(snapshot.collection.id, 0, generation)
    return services


def found_by(services: Installation, **asked: object) -> set[str]:
    request = SearchRequest("pictures", "red", **asked)  # type: ignore[arg-type]
    return {hit.id for hit in services.search.find(request).results}


def known_ids(services: Installation) -> set[str]:
    """What the sampled index can find."""
    page = services.catalog.images("pictures").items
    import numpy as np

    return {image.image_id for image in page if is_known(np.array([image.key]))[0]}


def test_the_library_says_it_and_exact_misses_nothing(sampled: Installation) -> None:
    response = sampled.search.find(SearchRequest("pictures", "red"))
    assert (response.approximate, response.recall) == (True, 0.5)
    assert {hit.id for hit in response.results} == known_ids(sampled) < {f"{one}.png" for one in COLOURS}
    exact = sampled.search.find(SearchRequest("pictures", "red", index="exact"))
    assert (exact.approximate, exact.recall, exact.degraded) == (False, None, ())
    assert {hit.id for hit in exact.results} == {f"{one}.png" for one in COLOURS}
    with pytest.raises(InputError, match="auto, exact"):
        sampled.search.find(SearchRequest("pictures", "red", index="best"))  # type: ignore[arg-type]


def test_http_the_events_and_the_page_say_it(sampled: Installation) -> None:
    with TestClient(create_app(sampled.api_parts), base_url="http://localhost") as client:
        url = "/v1/collections/pictures/search"
        answer = client.post(url, json={"text": "red"}).json()
        assert (answer["approximate"], answer["recall"]) == (True, 0.5)
        exact = client.post(url, json={"text": "red", "index": "exact"}).json()
        assert (exact["approximate"], exact["recall"], len(exact["results"])) == (False, None, 6)
        assert client.post(url, json={"text": "red", "index": "fast"}).status_code == 422
        streamed = client.post(f"{url}?stream=true", json={"text": "red"}).text
        told = [json.loads(line[5:]) for line in streamed.splitlines() if line.startswith("data:")]
        assert [one["recall"] for one in told if "results" in one] == [0.5, 0.5]
        page = client.get("/", params={"q": "red", "collection": "pictures"}).text
        assert ">approximate</span>" in page
        assert "finds 50.0 % of the best 100" in page


def test_an_exact_index_is_not_called_approximate(
    services: Installation, sightline: Run, tmp_path: Path
) -> None:
    save(tmp_path / "pictures", "red", "red")
    index(services, tmp_path / "pictures")
    ended = sightline("search", "red", "--collection", "pictures", "--exact-index", "--json")
    assert (ended.answer["approximate"], ended.answer["recall"]) == (False, None)
    assert "approximate" not in sightline("search", "red", "--collection", "pictures").stderr
