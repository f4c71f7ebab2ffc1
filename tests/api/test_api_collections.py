"""Collections are created once, found again, bound to their model, and deleted."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.api.installation import SHADES, problem


def test_created_then_found(client: TestClient) -> None:
    first = client.post("/v1/collections", json={"name": "pictures"})
    again = client.post("/v1/collections", json={"name": "pictures"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["location"] == "/v1/collections/pictures"
    assert first.json() == again.json() == client.get("/v1/collections/pictures").json()
    assert first.json()["model"] == "toy"


def test_another_model_is_a_conflict(client: TestClient, services: object) -> None:
    catalog = services.catalog  # type: ignore[attr-defined]
    catalog.create_collection(
        "old", model="other", revision=None, fingerprint="f" * 64, num_query_tokens=32, joint_dim=256
    )
    body = problem(client.post("/v1/collections", json={"name": "old", "model": "toy"}), 409)
    assert body["type"].endswith(":model-mismatch")


@pytest.mark.parametrize("model", ["/etc", "../up", "~root/x", "./here", "a/../../b", "file:///etc", "..\\x"])
def test_folders_are_no_models_over_http(client: TestClient, model: str) -> None:
    problem(client.post("/v1/collections", json={"name": "a", "model": model}), 403)


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", ".hidden", "ä", "a" * 64])
def test_odd_names_are_refused(client: TestClient, name: str) -> None:
    body = problem(client.post("/v1/collections", json={"name": name}), 422)
    assert body["errors"][0]["pointer"] == "#/name"


def test_counts_are_what_is_searchable(filled: TestClient) -> None:
    (only,) = filled.get("/v1/collections").json()["items"]
    assert (only["name"], only["images"], only["pending"], only["failed"]) == ("pictures", len(SHADES), 0, 0)
    assert only["bytes"] > 0


def test_deleted_is_gone(filled: TestClient) -> None:
    assert filled.delete("/v1/collections/pictures").status_code == 204
    problem(filled.get("/v1/collections/pictures"), 404)
    problem(filled.delete("/v1/collections/pictures"), 404)
    problem(filled.post("/v1/collections/pictures/search", json={"text": "red"}), 404)
