"""Near duplicates over HTTP."""

from __future__ import annotations

from io import BytesIO

from fastapi.testclient import TestClient
from PIL import Image

from sightline.wiring import Installation
from tests.api.installation import problem, upload
from tests.imaging.test_imaging_same_picture import drawing

ADDRESS = "/v1/collections/pictures/duplicates"


def file_of(picture: Image.Image, form: str) -> bytes:
    file = BytesIO()
    picture.save(file, form)
    return file.getvalue()


def test_groups_come_page_by_page_with_addresses_that_answer(
    client: TestClient, services: Installation
) -> None:
    first, second = drawing(1), drawing(2)
    small = first.resize((160, 120))
    assert client.post("/v1/collections", json={"name": "pictures"}).status_code in (200, 201)
    whole = file_of(first, "PNG")
    files = {"a": whole, "a-small": file_of(small, "JPEG"), "b": file_of(second, "PNG"), "a-twin": whole}
    upload(client, files | {"b-twin": files["b"]})
    services.indexer.run_pending()
    page = client.get(ADDRESS, params={"limit": 1}).json()
    assert (page["total"], page["waiting"], page["degraded"]) == (2, 0, [])
    (group,) = page["groups"]
    assert group["kind"] == "same picture"
    assert {one["id"]: one["largest"] for one in group["images"]} == {
        "a": True,
        "a-twin": False,
        "a-small": False,
    }
    assert client.get(group["images"][0]["thumbnail_url"]).status_code == 200
    rest = client.get(ADDRESS, params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [group["kind"] for group in rest["groups"]] == ["same bytes"]
    assert rest["next_cursor"] is None
    asked = {"text": "red", "collapse": True}
    hits = client.post("/v1/collections/pictures/search", json=asked).json()["results"]
    assert sorted(len(hit["duplicates"]) for hit in hits) == [1, 2]


def test_what_is_wrong_is_said(library: TestClient) -> None:
    problem(library.get("/v1/collections/nowhere/duplicates"), 404)
    problem(library.get(ADDRESS, params={"cursor": "x"}), 422)
    problem(library.get(ADDRESS, params={"limit": 0}), 422)
