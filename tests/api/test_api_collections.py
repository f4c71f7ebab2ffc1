"""Collections are created once, found again, bound to their model, and deleted."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from fastapi.testclient import TestClient
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sightline.api.schemas.common import CollectionName
from sightline.errors import InputError, NotFoundError
from sightline.settings import Settings
from sightline.store.values import check_collection_name
from sightline.wiring import Installation
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


@given(st.text(st.sampled_from("aZ09._-/ \n\0é"), max_size=70))
@example("a" * 63)
@example("a" * 64)
@example("name\n")
def test_http_and_the_library_refuse_the_same_names(name: str) -> None:
    letters = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    good = 1 <= len(name) <= 63 and name[0] in letters and set(name) <= letters | set("._-")
    refused = []
    for check, error in (
        (check_collection_name, InputError),
        (TypeAdapter(CollectionName).validate_python, ValidationError),
    ):
        try:
            check(name)
        except error:
            refused.append(check)
    assert len(refused) == (0 if good else 2)


def test_a_name_of_old_that_breaks_the_rule_is_read_searched_and_deleted(
    filled: TestClient, services: Installation, settings: Settings
) -> None:
    old = "my/pics 2020"
    with closing(sqlite3.connect(settings.data_folder / "catalog.sqlite")) as catalog, catalog:
        assert catalog.execute("update collections set name = ?", [old]).rowcount == 1
    (listed,) = filled.get("/v1/collections").json()["items"]
    assert (listed["name"], listed["images"]) == (old, len(SHADES))
    assert {image.image_id for image in services.catalog.images(old).items} == set(SHADES)
    found = filled.get("/", params={"collection": old, "q": "red blue"})
    assert found.status_code == 200
    assert found.text.index("all half") < found.text.index("all purple")
    services.catalog.delete_collection(old)
    with pytest.raises(NotFoundError):
        services.catalog.collection(old)


def test_counts_are_what_is_searchable(filled: TestClient) -> None:
    (only,) = filled.get("/v1/collections").json()["items"]
    assert (only["name"], only["images"], only["pending"], only["failed"]) == ("pictures", len(SHADES), 0, 0)
    assert only["bytes"] > 0


def test_deleted_is_gone(filled: TestClient) -> None:
    assert filled.delete("/v1/collections/pictures").status_code == 204
    problem(filled.get("/v1/collections/pictures"), 404)
    problem(filled.delete("/v1/collections/pictures"), 404)
    problem(filled.post("/v1/collections/pictures/search", json={"text": "red"}), 404)
