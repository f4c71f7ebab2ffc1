"""The trash over HTTP: what was deleted is listed, comes back with the same answers, or is given up."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.wiring import Installation
from tests.api.installation import SHADES, png, problem, upload

COLLECTION = "/v1/collections/pictures"
TRASH = f"{COLLECTION}/trash"


def found(client: TestClient, collection: str = "pictures") -> list[tuple[Any, ...]]:
    answer = client.post(f"/v1/collections/{collection}/search", json={"text": "red left", "limit": 20})
    assert answer.status_code == 200, answer.text
    fields = ("id", "itm_logit", "itc", "caption", "metadata")
    return [tuple(str(hit[field]) for field in fields) for hit in answer.json()["results"]]


def ids(client: TestClient) -> set[str]:
    return {item["id"] for item in client.get(TRASH).json()["items"]}


def test_a_deleted_picture_is_in_the_trash_and_comes_back_as_it_was(filled: TestClient) -> None:
    before = found(filled)
    for name in ("red", "blue"):
        assert filled.delete(f"{COLLECTION}/images/{name}").status_code == 204
    assert {hit[0] for hit in found(filled)} == set(SHADES) - {"red", "blue"}
    problem(filled.get(f"{COLLECTION}/images/red"), 404)
    assert filled.get(COLLECTION).json()["trashed"] == 2
    [first, second] = filled.get(TRASH).json()["items"]
    assert {first["id"], second["id"]} == {"red", "blue"}
    assert first["caption"] == f"all {first['id']}"
    assert first["trashed_at"].endswith("Z")
    done = filled.post(f"{TRASH}/restore", json={"ids": ["red", "nowhere"]}).json()
    assert (done["restored"], [one["reason"] for one in done["refused"]]) == (["red"], ["not_found"])
    assert filled.post(f"{TRASH}/restore", json={"all": True}).json()["restored"] == ["blue"]
    assert found(filled) == before
    assert filled.get(f"{COLLECTION}/images/red/thumbnail").status_code == 200


def test_an_id_that_is_taken_meanwhile_is_refused_in_a_sentence(
    filled: TestClient, services: Installation
) -> None:
    filled.delete(f"{COLLECTION}/images/red")
    upload(filled, {"red": png("green", "white")})
    services.indexer.run_pending()
    [refused] = filled.post(f"{TRASH}/restore", json={"ids": ["red"]}).json()["refused"]
    assert (refused["id"], refused["reason"]) == ("red", "id_taken")
    assert refused["detail"].endswith(".")
    assert ids(filled) == {"red"}


def test_the_trash_is_emptied_of_some_or_of_all(filled: TestClient) -> None:
    for name in ("red", "blue", "half"):
        filled.delete(f"{COLLECTION}/images/{name}")
    problem(filled.delete(TRASH), 422)
    problem(filled.delete(TRASH, params={"id": "red", "all": True}), 422)
    assert filled.delete(TRASH, params={"id": ["red", "nowhere"]}).json() == {"emptied": 1}
    assert ids(filled) == {"blue", "half"}
    assert filled.delete(TRASH, params={"all": True, "purge": True}).json() == {"emptied": 2}
    assert ids(filled) == set()
    problem(filled.delete("/v1/collections/nowhere/trash", params={"all": True}), 404)


@pytest.mark.parametrize("body", [{}, {"ids": [], "all": False}, {"ids": ["a"], "all": True}, {"id": ["a"]}])
def test_restoring_has_to_say_what(filled: TestClient, body: dict[str, Any]) -> None:
    problem(filled.post(f"{TRASH}/restore", json=body), 422)


def test_a_deleted_collection_comes_back_whole(filled: TestClient) -> None:
    before = found(filled)
    filled.delete(f"{COLLECTION}/images/white")
    assert filled.delete(COLLECTION).status_code == 204
    problem(filled.get(COLLECTION), 404)
    problem(filled.get(TRASH), 404)
    [one] = filled.get("/v1/trash").json()["items"]
    assert (one["name"], one["images"], one["pending"]) == ("pictures", len(SHADES) - 1, 0)
    problem(filled.get(f"/v1/collections/{one['id']}"), 404)
    restored = filled.post("/v1/trash/pictures/restore")
    assert (restored.status_code, restored.json()["name"]) == (200, "pictures")
    assert filled.get("/v1/trash").json() == {
        "items": [], "images": [{"collection": "pictures", "images": 1}]
    }  # fmt: skip
    assert filled.post(f"{TRASH}/restore", json={"all": True}).json()["restored"] == ["white"]
    assert found(filled) == before


def test_a_name_that_is_taken_needs_another_one(filled: TestClient) -> None:
    before = found(filled)
    filled.delete(COLLECTION)
    filled.post("/v1/collections", json={"name": "pictures"})
    [one] = filled.get("/v1/trash").json()["items"]
    problem(filled.post("/v1/trash/pictures/restore"), 409)
    problem(filled.post("/v1/trash/pictures/restore", json={"as": "../x"}), 422)
    problem(filled.post("/v1/trash/nowhere/restore", json={}), 404)
    assert filled.post(f"/v1/trash/{one['id']}/restore", json={"as": "old"}).json()["name"] == "old"
    assert found(filled, "old") == before


@pytest.mark.parametrize("how", ["at once", "from the trash"])
def test_a_purged_collection_leaves_no_file(filled: TestClient, services: Installation, how: str) -> None:
    if how == "at once":
        assert filled.delete(COLLECTION, params={"purge": True}).status_code == 204
    else:
        filled.delete(COLLECTION)
        assert filled.delete("/v1/trash/pictures", params={"purge": True}).status_code == 204
    assert filled.get("/v1/trash").json() == {"items": [], "images": []}
    assert list(services.settings.data_folder.rglob("*.safetensors")) == []
    assert list(services.blobs) == []


def test_a_purged_picture_is_in_no_list_and_a_deleted_collection_can_be_given_up(
    filled: TestClient, services: Installation
) -> None:
    sha256 = filled.get(f"{COLLECTION}/images/red").json()["sha256"]
    assert filled.delete(f"{COLLECTION}/images/red", params={"purge": True}).status_code == 204
    problem(filled.delete(f"{COLLECTION}/images/red", params={"purge": True}), 404)
    assert (ids(filled), services.blobs.has(sha256)) == (set(), False)
    assert {hit[0] for hit in found(filled)} == set(SHADES) - {"red"}
    filled.delete(COLLECTION)
    assert filled.delete("/v1/trash/pictures").status_code == 204
    problem(filled.delete("/v1/trash/pictures"), 404)
