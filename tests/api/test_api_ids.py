"""Ids in addresses: what is accepted survives every client, and what would not is refused at every door."""

from __future__ import annotations

import json
from urllib.parse import quote, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from sightline.errors import InputError
from sightline.indexer.uploads import Upload
from sightline.store.values import MAX_ID_BYTES, check_image_id
from sightline.wiring import Installation
from tests.api.installation import png, problem, upload

IMAGES = "/v1/collections/pictures/images"
REFUSED = [
    "..", ".", "a/../b", "../b", "a/..", "./a", "a\\..\\b", "", "a\nb", "\x7f", "a\x85", "%2E", "%2E%2E",
    "x" * (MAX_ID_BYTES + 1), "ü" * MAX_ID_BYTES,
]  # fmt: skip
ACCEPTED = [
    "/a", "a//b", "a/", "//", " ", "...", "a..b", "..a", "%2e%2e", "%2F", "a%2Fb", "a?b#c", "a b+c", "file",
    "thumbnail", "a/file", "a/thumbnail", "日本/ü.jpg", "s3://bucket/a.jpg", "a\\b", "x" * MAX_ID_BYTES,
]  # fmt: skip


def test_no_id_that_was_accepted_leads_to_its_collection(client: TestClient, services: Installation) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    files = [("files", ("a.png", png("red")))]
    for image_id in ("..", ".", "a/../..", "%2e%2e"):
        client.post(IMAGES, files=files, data={"items": json.dumps([{"id": image_id}])})
        services.indexer.run_pending()
        for image in client.get(IMAGES).json()["items"]:
            client.delete(f"{IMAGES}/{quote(image['id'], safe='')}")
    assert [one["name"] for one in client.get("/v1/collections").json()["items"]] == ["pictures"]
    assert client.get(IMAGES).json()["items"] == []


def test_whatever_is_accepted_goes_there_and_back(client: TestClient, services: Installation) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    upload(client, {name: png("red") for name in ACCEPTED})
    services.indexer.run_pending()
    for image in client.get(IMAGES, params={"limit": 100}).json()["items"]:
        url = urlsplit(image["file_url"]).path.removesuffix("/file")
        assert httpx.URL(f"http://here{url}").raw_path.decode() == url, "a client rewrites it"
        assert client.get(url).json()["id"] == image["id"]
        assert client.get(image["file_url"]).content == png("red")
        assert client.get(image["thumbnail_url"]).status_code == 200
        assert client.patch(url, json={"caption": "seen"}).json()["id"] == image["id"]
        assert client.delete(url).status_code == 204
    assert client.get(IMAGES).json()["items"] == []
    assert client.get("/v1/collections/pictures").status_code == 200


def test_one_rule_holds_at_every_door(client: TestClient, services: Installation) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    files = [("files", ("a.png", png("red")))]
    for image_id in REFUSED:
        with pytest.raises(InputError):
            check_image_id(image_id)
        told = json.dumps([{"id": image_id}])
        body = problem(client.post(IMAGES, files=files, data={"items": told}), 422)
        assert body["errors"][0]["pointer"] == "#/items/0/id", image_id
    _, lines = services.indexer.add("pictures", [Upload(png("red"), name) for name in REFUSED if name])
    assert {(line.status, line.reason) for line in lines} == {("failed", "unsupported")}
    assert client.get(IMAGES).json()["items"] == []


def test_an_image_that_has_such_an_id_from_before_is_reached_and_deleted(
    client: TestClient, services: Installation
) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    before = (".", "..", "a\nb", "a/../b")
    upload(client, {f"{number}": png("red") for number in range(len(before))} | {"other": png("blue")})
    services.indexer.run_pending()
    for number, old in enumerate(before):
        rename = text("UPDATE images SET image_id = :old WHERE image_id = :new").bindparams(
            old=old, new=f"{number}"
        )
        services.catalog.database.write(lambda connection, rename=rename: connection.execute(rename))
        [image] = [one for one in client.get(IMAGES).json()["items"] if one["id"] == old]
        url = urlsplit(image["file_url"]).path.removesuffix("/file")
        assert client.get(image["file_url"]).content == png("red")
        assert client.get(image["thumbnail_url"]).headers["content-type"] == "image/webp"
        assert client.patch(url, json={"caption": "seen"}).json()["id"] == old
        assert client.delete(url).status_code == 204
    assert [one["id"] for one in client.get(IMAGES).json()["items"]] == ["other"]
    assert client.get("/v1/collections/pictures").status_code == 200


def test_a_slash_too_many_is_another_address_and_no_redirect(filled: TestClient) -> None:
    for path in ("/v1/collections", "/v1/collections/pictures", IMAGES, f"{IMAGES}/red", "/v1/jobs"):
        for method in ("GET", "HEAD", "DELETE", "PATCH", "PUT", "POST"):
            answer = filled.request(method, f"{path}/", follow_redirects=False)
            assert answer.status_code in (404, 405, 422), (method, path)
    assert len(filled.get(IMAGES).json()["items"]) == 6


def test_an_address_that_is_not_utf_8_is_nobodys(client: TestClient, services: Installation) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    upload(client, {"x\ufffd.png": png("red")})
    services.indexer.run_pending()
    for address in ("x%FE.png", "x%ff.png", "x%ED%A0%80.png"):
        assert client.delete(f"{IMAGES}/{address}").status_code == 400
        assert client.get(f"{IMAGES}/{address}/file").status_code == 400
    assert [image["id"] for image in client.get(IMAGES).json()["items"]] == ["x\ufffd.png"]
