"""The form for a first collection: for whom it is there, what it offers, and what it says of mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from sightline.blip.checkpoint import is_here
from sightline.serving.served import ServedModels
from sightline.serving.settings import ModelSettings
from sightline.wiring import Installation
from tests.api.installation import MakeClient

FORM = 'id="first"'


def test_it_makes_the_collection_and_shows_it(client: TestClient) -> None:
    assert FORM in client.get("/").text
    made = client.post("/collection", data={"name": " mine ", "model": "demo"}, follow_redirects=False)
    assert (made.status_code, made.headers["location"]) == (303, "/?collection=mine")
    assert client.get("/v1/collections/mine").json()["model"] == "demo"
    page = client.get(made.headers["location"]).text
    assert FORM not in page
    assert "No pictures yet" in page


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"name": ""}, 422, "letters, digits"),
        ({"name": "a/b"}, 422, "letters, digits"),
        ({"name": "x" * 64}, 422, "63"),
        ({"name": "a", "model": "somebody/else"}, 403, "does not serve that model"),
    ],
)
def test_a_mistake_is_told_beside_what_was_typed(
    client: TestClient, given: dict[str, str], status: int, said: str
) -> None:
    answer = client.post("/collection", data=given)
    assert answer.status_code == status
    assert re.search(rf'role="alert">[^<]*{said}', answer.text)
    assert f'value="{given["name"]}"' in answer.text
    assert client.get("/v1/collections").json()["items"] == []


def test_another_model_for_a_name_that_is_there_is_a_conflict(client: TestClient) -> None:
    client.post("/v1/collections", json={"name": "mine"})
    assert client.post("/collection", data={"name": "mine", "model": "demo"}).status_code == 409


@pytest.mark.parametrize(
    ("key", "there"), [({"scope": "read"}, False), ({"scope": "write", "collections": ["mine"]}, False),
                       ({"scope": "write"}, True)],
)  # fmt: skip
def test_only_who_may_make_collections_sees_the_form(
    make_client: MakeClient, key: dict[str, object], there: bool
) -> None:
    client = make_client(key="sesame")
    boss = {"Authorization": "Bearer sesame"}
    mine = client.post("/v1/keys", json={"name": "mine", **key}, headers=boss).json()["key"]
    page = client.get("/", headers={"Authorization": f"Bearer {mine}"}).text
    assert "No pictures yet" in page
    assert (FORM in page) == there


def test_only_models_that_lie_here_are_offered(services: Installation, tmp_path: Path) -> None:
    """No hub is asked: what would have to be fetched first is not offered."""
    (tmp_path / "models--some--model" / "refs").mkdir(parents=True)

    def offered(name: str) -> dict[str, bool]:
        return ServedModels(services.catalog, ModelSettings(name=name, cache_dir=tmp_path)).here()

    assert offered("demo") == {"demo": True}
    assert offered("some/model") == offered(str(tmp_path / "nowhere")) == {"demo": False}
    assert offered(str(tmp_path)) == {str(tmp_path): True, "demo": False}
    snapshot = tmp_path / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (tmp_path / "models--some--model" / "refs" / "main").write_text("abc")
    assert offered("some/model") == {"some/model": True, "demo": False}
    assert is_here("toy")
    assert not is_here("no id at all")
