"""Why an image matches, over HTTP: of hits, and of one stored image."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.wiring import Installation
from tests.api.installation import png, problem, upload

IMAGES = "/v1/collections/pictures/images"


def explanation(client: TestClient, image: str, text: str) -> Any:
    answer = client.get(f"{IMAGES}/{image}/explanation", params={"text": text})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_explained_hit_says_what_the_image_says_of_itself(library: TestClient) -> None:
    asked = {"text": "red left, blue", "explain": True, "limit": 20}
    answer = library.post("/v1/collections/pictures/search", json=asked)
    assert answer.status_code == 200, answer.text
    for hit in answer.json()["results"]:
        found = explanation(library, hit["id"], "red left, blue")
        assert found == {
            "id": hit["id"],
            "text": "red left, blue",
            "truncated": False,
            "degraded": [],
            "unknown_words": [],
            "notes": [],
            "explanation": hit["explanation"],
        }


def test_an_explanation_has_every_field_and_the_toys_numbers(library: TestClient) -> None:
    why = explanation(library, "half", "Blue left")["explanation"]
    assert why["no_match_logit"] == pytest.approx(2 / 3)
    assert why["match_logit"] == pytest.approx(8 / 3 - 4)
    nowhere = {"width": 2, "height": 2, "values": [[1, 0], [0, 0]]}
    assert why["heat"] == nowhere  # equal quadrants on the left: the first of them
    first, second = why["words"]
    assert (first["word"], first["start"], first["end"], first["heat"]) == ("Blue", 0, 4, nowhere)
    assert (second["word"], second["start"], second["end"]) == ("left", 5, 9)
    assert second["drop"] < 0  # there is blue, only not there
    assert second["drop"] == pytest.approx(why["match_probability"] - second["probability_without"], abs=2e-4)
    assert set(first) == {"word", "start", "end", "probability_without", "drop", "heat"}


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (f"{IMAGES}/nothing/explanation?text=red", 404),
        ("/v1/collections/others/images/red/explanation?text=red", 404),
        (f"{IMAGES}/red/explanation", 422),
        (f"{IMAGES}/red/explanation?text=", 422),
        (f"{IMAGES}/red/explanation?text=%20%09", 422),
        (f"{IMAGES}/red/explanation?text=%00", 422),
        (f"{IMAGES}/red/explanation?text=" + "x" * 10_001, 422),
    ],
)
def test_what_cannot_be_explained_is_a_problem(library: TestClient, address: str, status: int) -> None:
    problem(library.get(address), status)


def test_an_image_that_no_worker_has_embedded_is_503(client: TestClient, services: Installation) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    upload(client, {"a/red.png": png("red")})
    address = f"{IMAGES}/a/red.png/explanation?text=red"
    assert "not indexed yet" in problem(client.get(address), 503)["detail"]
    services.indexer.run_pending()
    assert client.get(address).json()["id"] == "a/red.png"


def test_a_search_that_cannot_be_explained_is_refused(library: TestClient) -> None:
    for change in ({"limit": 21}, {"rerank": False}, {"score": "itc"}):
        asked = {"text": "red", "explain": True, **change}
        detail = problem(library.post("/v1/collections/pictures/search", json=asked), 422)["detail"]
        assert "explain" in detail
