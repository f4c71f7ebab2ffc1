"""What is told of one picture is bounded at every door, and so is what one answer repeats of many."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.errors import InputError
from sightline.indexer.uploads import Upload
from sightline.store.told import metadata_bytes, told_bytes
from sightline.wiring import Installation
from tests.api.installation import MakeClient, png, problem, upload

IMAGES = "/v1/collections/pictures/images"
MOST = 64 << 10
KEPT: dict[str, Any] = {"a": "é" * ((MOST - 8) // 2)}  # {"a":"…"} is 8 bytes and the text
COLOURS = ("red", "blue", "green", "white", "purple")


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    client.post("/v1/collections", json={"name": "pictures"})
    upload(client, {"a": png("red")})
    client.app.state.parts.indexer.run_pending()  # type: ignore[attr-defined]
    return client


def test_bytes_are_those_of_the_json_that_answers_hold() -> None:
    assert metadata_bytes(KEPT) == MOST == len(json.dumps(KEPT, ensure_ascii=False).encode()) - 1
    assert told_bytes("é", {}) == 4
    loop: dict[str, Any] = {}
    loop["a"] = loop
    for no_json in ({"a": object()}, {("a",): 1}, loop):
        assert metadata_bytes(no_json) == 0  # type: ignore[arg-type]


def test_a_change_keeps_as_much_as_may_be_and_no_more(filled: TestClient) -> None:
    assert filled.patch(f"{IMAGES}/a", json={"metadata": KEPT}).status_code == 200
    refused = filled.patch(f"{IMAGES}/a", json={"metadata": {"a": KEPT["a"] + "b"}})
    assert f"{MOST:,}" in problem(refused, 422)["detail"]
    many = {f"k{number}": number for number in range(58_000)}
    assert problem(filled.patch(f"{IMAGES}/a", json={"caption": "x", "metadata": many}), 422)
    stored = filled.get(f"{IMAGES}/a").json()
    assert (stored["metadata"], stored["caption"]) == (KEPT, None), "nothing of it was kept"


def test_an_upload_with_too_much_of_one_picture_is_refused_whole(filled: TestClient) -> None:
    told = [{"id": "b"}, {"id": "c", "metadata": {"a": "b" * MOST}}]
    files = [("files", (name, png("red"))) for name in "bc"]
    refused = filled.post(IMAGES, files=files, data={"items": json.dumps(told)})
    assert problem(refused, 422)["errors"][0]["pointer"] == "#/items/1"
    assert [one["id"] for one in filled.get(IMAGES).json()["items"]] == ["a"]


def test_the_library_says_so_of_the_picture_and_takes_the_others(services: Installation) -> None:
    services.collections.create("pictures")
    much: dict[str, Any] = {"metadata": {"a": "b" * MOST}}
    _, lines = services.indexer.add(
        "pictures",
        [
            Upload(png("red"), "a", **much), Upload(png("blue"), "b", "c" * (MOST + 1)),
            Upload(png("green"), "c", "c" * MOST, KEPT),
        ],
    )  # fmt: skip
    assert [(line.status, line.reason) for line in lines] == [
        ("failed", "metadata_too_large"), ("failed", "metadata_too_large"), ("pending", None),
    ]  # fmt: skip
    with pytest.raises(InputError, match="MAX_METADATA_BYTES"):
        services.indexer.check_told("a", None, much["metadata"])


def test_lists_end_their_pages_early_and_miss_nothing(make_client: MakeClient) -> None:
    client = make_client(max_answer_bytes=25_000)
    client.post("/v1/collections", json={"name": "pictures"})
    told = {name: {"metadata": {"a": name[0] * 10_000}} for name in COLOURS}
    told["green"] = {"metadata": {"a": "g" * 40_000}}  # more than one answer may have: alone on its page
    upload(client, {name: png(name) for name in COLOURS}, **told)
    services = client.app.state.parts  # type: ignore[attr-defined]
    services.indexer.run_pending()
    assert pages(client, IMAGES) == [["red", "blue"], ["green"], ["white", "purple"]]
    assert len(client.get("/", params={"collection": "pictures"}).content) < 100_000
    for name in COLOURS:
        client.delete(f"{IMAGES}/{name}")
    assert pages(client, "/v1/collections/pictures/trash") == [
        ["red", "blue"],
        ["green"],
        ["white", "purple"],
    ]


def pages(client: TestClient, path: str) -> list[list[str]]:
    """Ids of every page, first to last."""
    found: list[list[str]] = []
    cursor = None
    while not found or cursor is not None:
        assert len(found) < 10
        page = client.get(path, params={"limit": 1000} | ({"cursor": cursor} if cursor else {})).json()
        found.append([item["id"] for item in page["items"]])
        cursor = page["next_cursor"]
    return found


def test_a_search_whose_answer_would_be_too_large_says_what_to_do(make_client: MakeClient) -> None:
    client = make_client(max_answer_bytes=25_000)
    client.post("/v1/collections", json={"name": "pictures"})
    told = {name: {"metadata": {"a": name[0] * 10_000}} for name in COLOURS}
    upload(client, {name: png(name) for name in COLOURS}, **told)
    client.app.state.parts.indexer.run_pending()  # type: ignore[attr-defined]
    path = "/v1/collections/pictures/search"
    refused = client.post(path, json={"text": "red", "limit": 3})
    assert "fewer" in problem(refused, 422)["detail"]
    assert client.get("/", params={"collection": "pictures", "q": "red"}).status_code == 422
    fewer = [client.post(path, json={"text": "red", "limit": 2, "offset": at}).json() for at in (0, 2, 4)]
    assert {hit["id"] for one in fewer for hit in one["results"]} == set(COLOURS)


def test_the_text_that_brought_a_picture_counts_as_its_caption_does(make_client: MakeClient) -> None:
    """Each caption comes twice in such an answer: as itself, and as the text by which it was found."""
    client = make_client(max_answer_bytes=25_000)
    client.post("/v1/collections", json={"name": "pictures"})
    told: dict[str, Any] = {name: {"caption": f"kite {'x' * 9_000}"} for name in COLOURS[:2]}
    upload(client, {name: png(name) for name in COLOURS[:2]}, **told)
    client.app.state.parts.indexer.run_pending()  # type: ignore[attr-defined]
    path = "/v1/collections/pictures/search"
    assert len(client.post(path, json={"text": "kite", "texts": False}).json()["results"]) == 2
    assert "matched texts" in problem(client.post(path, json={"text": "kite"}), 422)["detail"]
    [hit] = client.post(path, json={"text": "kite", "limit": 1}).json()["results"]
    assert hit["matched_text"] == hit["caption"]


def test_what_was_stored_before_stays_readable(filled: TestClient) -> None:
    """Also when it is more than may come in now; a change of its caption alone is none of its metadata."""
    before = {"a": "b" * (3 * MOST)}
    filled.app.state.parts.catalog.update_image("pictures", "a", metadata=before)  # type: ignore[attr-defined]
    assert filled.patch(f"{IMAGES}/a", json={"caption": "red"}).json()["metadata"] == before
    assert filled.get(IMAGES).json()["items"][0]["metadata"] == before
