"""Uploads, records, and the bytes of pictures."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.api.urls import canonical_path, escape, unescape
from sightline.wiring import Installation
from tests.api.installation import SHADES, MakeClient, png, problem, upload

IMAGES = "/v1/collections/pictures/images"


def test_an_upload_answers_with_a_job_and_a_line_for_each_file(
    client: TestClient, services: Installation
) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    red, blue = png("red"), png("blue")
    files = [("files", ("r.png", red)), ("files", ("b.png", blue)), ("files", ("none.png", b""))]
    answer = client.post(IMAGES, files=files, data={"items": json.dumps([{"id": "my/red"}, {}, {}])})
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == body["job"]["url"] == f"/v1/jobs/{body['job']['id']}"
    sha = hashlib.sha256(blue).hexdigest()
    lines = [(line["filename"], line["id"], line["status"], line["reason"]) for line in body["files"]]
    empty = hashlib.sha256(b"").hexdigest()
    assert lines == [
        ("r.png", "my/red", "pending", None),
        ("b.png", sha, "pending", None),
        ("none.png", empty, "failed", "empty"),
    ]
    services.indexer.run_pending()
    job = client.get(body["job"]["url"]).json()
    assert (job["state"], job["progress"]["indexed"], job["progress"]["failed"]) == ("done", 2, 1)
    again = client.post(IMAGES, files=files[1:2]).json()
    assert again["files"][0]["status"] == "unchanged"


def test_what_is_no_picture_is_one_failure_and_costs_its_neighbours_nothing(
    client: TestClient, services: Installation
) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    body = upload(client, {"good.png": png("red"), "bad.txt": b"<html>no picture</html>"})
    services.indexer.run_pending()
    job = client.get(body["job"]["url"]).json()
    assert job["progress"]["indexed"] == 1
    assert [error["id"] for error in job["errors"]] == ["bad.txt"]
    assert job["errors"][0]["reason"]
    assert job["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("items", "where"),
    [
        ("[{}]", "#/items"),
        ("nonsense", "#/items"),
        ("[" * 5000, "#/items"),
        ('[{"id": "a"}, {"id": "a"}]', "#/items"),
        ('[{"id": "a"}, {"idd": "b"}]', "#/items/1/idd"),
        ('[{"id": ""}, {}]', "#/items/0/id"),
        ('[{"caption": "\\u0000"}, {}]', "#/items/0/caption"),
        ('[{}, {"metadata": {"n": 1e999}}]', "#/items/1/metadata"),
        ('[{}, {"metadata": [1]}]', "#/items/1/metadata"),
        ('{"id": "a"}', "#/items"),
    ],
)
def test_items_that_do_not_fit_are_refused_in_place(client: TestClient, items: str, where: str) -> None:
    client.post("/v1/collections", json={"name": "pictures"})
    files = [("files", ("a.png", png("red"))), ("files", ("b.png", png("blue")))]
    body = problem(client.post(IMAGES, files=files, data={"items": items}), 422)
    assert body["errors"][0]["pointer"] == where
    assert client.get("/v1/jobs").json()["items"] == []


def test_uploads_need_files_and_a_collection(client: TestClient) -> None:
    problem(client.post(IMAGES, files=[("files", ("a.png", png("red")))]), 404)
    client.post("/v1/collections", json={"name": "pictures"})
    problem(client.post(IMAGES, files={"items": (None, "[]")}), 422)


def test_uploads_are_limited(make_client: MakeClient) -> None:
    client = make_client(max_upload_files=2, max_upload_bytes=100_000)
    client.post("/v1/collections", json={"name": "pictures"})
    files = [("files", (f"{n}.png", png("red"))) for n in range(3)]
    problem(client.post(IMAGES, files=files), 413)
    problem(client.post(IMAGES, files=[("files", ("a", b"x" * 1_200_000))]), 413)


def test_the_list_is_complete_page_by_page(library: TestClient) -> None:
    seen: list[str] = []
    cursor = None
    for _ in range(len(SHADES)):
        page = library.get(IMAGES, params={"limit": 4} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page["items"]) <= 4
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(SHADES)


def test_a_broken_cursor_is_refused(library: TestClient) -> None:
    problem(library.get(IMAGES, params={"cursor": "%%%"}), 422)


def test_the_list_can_be_filtered(library: TestClient) -> None:
    wanted = json.dumps({"must": [{"field": "metadata.length", "range": {"gte": 5}}]})
    page = library.get(IMAGES, params={"filter": wanted}).json()
    assert sorted(item["id"] for item in page["items"]) == ["green", "purple", "white"]
    for wrong in ("{", '{"mst": []}', "[1]", "[" * 9000):
        assert problem(library.get(IMAGES, params={"filter": wrong}), 422)["type"].endswith(":invalid-filter")


def test_caption_and_metadata_change_alone_or_together(filled: TestClient) -> None:
    url = f"{IMAGES}/red"
    assert filled.patch(url, json={"caption": "a wall"}).json()["metadata"] == {"length": 3}
    assert filled.patch(url, json={"metadata": {"a": [1, None]}}).json()["caption"] == "a wall"
    assert filled.patch(url, json={"caption": None}).json()["caption"] is None
    kept = filled.get(url).json()
    assert (kept["caption"], kept["metadata"]) == (None, {"a": [1, None]})
    problem(filled.patch(url, json={"id": "blue"}), 422)
    problem(filled.patch(f"{IMAGES}/nobody", json={"caption": "a"}), 404)


def test_a_deleted_image_is_found_no_more(filled: TestClient) -> None:
    assert filled.delete(f"{IMAGES}/red").status_code == 204
    problem(filled.delete(f"{IMAGES}/red"), 404)
    problem(filled.get(f"{IMAGES}/red"), 404)
    found = filled.post("/v1/collections/pictures/search", json={"text": "red"}).json()["results"]
    assert sorted(hit["id"] for hit in found) == sorted(set(SHADES) - {"red"})


def test_file_and_thumbnail_are_the_picture(library: TestClient) -> None:
    record = library.get(f"{IMAGES}/half").json()
    file, thumbnail = library.get(record["file_url"]), library.get(record["thumbnail_url"])
    assert file.content == png(*SHADES["half"])
    assert hashlib.sha256(file.content).hexdigest() == record["sha256"]
    assert (file.headers["content-type"], thumbnail.headers["content-type"]) == ("image/png", "image/webp")
    assert Image.open(io.BytesIO(thumbnail.content)).size == (record["width"], record["height"]) == (8, 8)


@pytest.mark.parametrize("aspect", ["file", "thumbnail"])
def test_versioned_addresses_are_immutable_and_others_revalidate(library: TestClient, aspect: str) -> None:
    versioned = library.get(f"{IMAGES}/red").json()[f"{aspect}_url"]
    kept = library.get(versioned)
    assert "immutable" in kept.headers["cache-control"]
    plain = library.get(f"{IMAGES}/red/{aspect}")
    stale = library.get(f"{IMAGES}/red/{aspect}?v=0123456789abcdef")
    assert plain.headers["cache-control"] == stale.headers["cache-control"] == "public, no-cache"
    etag = kept.headers["etag"]
    for tags in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        unchanged = library.get(versioned, headers={"If-None-Match": tags})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
    assert library.get(versioned, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_replaced_image_has_another_version(filled: TestClient, services: Installation) -> None:
    before = filled.get(f"{IMAGES}/red").json()
    upload(filled, {"red": png("red", "white")})
    services.indexer.run_pending()
    after = filled.get(f"{IMAGES}/red").json()
    assert before["file_url"] != after["file_url"]
    assert filled.get(after["file_url"]).content == png("red", "white")


def test_a_changed_or_missing_original_is_gone(
    client: TestClient, services: Installation, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png("red"))
    services.collections.create("pictures")
    services.indexer.index([str(tmp_path / "a.png")], "pictures")
    services.indexer.run_pending()
    (record,) = client.get(IMAGES).json()["items"]
    assert client.get(record["file_url"]).status_code == 200
    path.write_bytes(png("blue"))
    assert "changed" in problem(client.get(record["file_url"]), 410)["detail"]
    path.unlink()
    problem(client.get(record["file_url"]), 410)
    assert client.get(record["thumbnail_url"]).status_code == 200


@pytest.mark.parametrize(
    ("name", "kind", "how"),
    [
        ("JPEG", "image/jpeg", "inline"), ("PNG", "image/png", "inline"), ("GIF", "image/gif", "inline"),
        ("WEBP", "image/webp", "inline"), ("AVIF", "image/avif", "inline"), ("BMP", "image/bmp", "inline"),
        ("TIFF", "image/tiff", "inline"), ("ICO", "application/octet-stream", "attachment"),
        ("JPEG2000", "application/octet-stream", "attachment"),
    ],
)  # fmt: skip
def test_pictures_are_sent_as_what_they_are(name: str, kind: str, how: str) -> None:
    from sightline.api.files import HEAD, shown_as

    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, name)
    headers = shown_as(buffer.getvalue()[:HEAD], "a.txt")
    assert (headers["Content-Type"], headers["Content-Disposition"].split(";")[0]) == (kind, how)


def test_bytes_that_are_no_picture_are_never_shown_as_a_page() -> None:
    from sightline.api.files import HEAD, shown_as

    page, drawing = b"<!doctype html><script>alert(1)</script>", b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    for data in (page, drawing, b"BM is how many texts begin, and this one goes on"):
        assert shown_as(data[:HEAD], "a.png")["Content-Type"] == "application/octet-stream"
    assert shown_as(page[:HEAD], 'x/"quo\nte".html')["Content-Disposition"].startswith(
        "attachment; filename*=UTF-8''%22quo%0Ate%22.html"
    )


@pytest.mark.parametrize(
    "path",
    ["../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00",
     "%2Fetc%2Fpasswd", "file:%2F%2F%2Fetc%2Fpasswd", "..%5c..%5cetc", "blob:../../x", "%252e%252e%252fetc"],
)  # fmt: skip
def test_no_address_reaches_a_file(library: TestClient, path: str) -> None:
    for address in (
        f"{IMAGES}/{path}/file",
        f"{IMAGES}/{path}/thumbnail",
        f"/static/{path}",
        f"/static/{path}/x",
    ):
        answer = library.get(address)
        assert answer.status_code in (404, 422), address
        assert b"root:" not in answer.content


IDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(
    lambda text: all(part not in (".", "..", "") for part in text.split("/"))
)


@given(IDS)
@example("a/file")
@example("a/thumbnail")
@example("100%2Ffile")
@example("a.zip!/b c/ü.png")
@example("%2F")
def test_every_id_survives_its_address(image_id: str) -> None:
    assert unescape(escape(image_id)) == image_id
    assert "/" not in escape(image_id)
    head = "/v1/collections/c/images/"
    for aspect in ("", "/file", "/thumbnail"):
        assert canonical_path(f"{head}{quote(image_id, safe='')}{aspect}") == head + escape(image_id) + aspect
    if not image_id.endswith(("/file", "/thumbnail")):
        assert canonical_path(head + quote(image_id)) == head + escape(image_id)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(IDS)
@example("a/file")
@example("100%2Ffile")
@example("x?y#z")
def test_every_id_can_be_uploaded_and_fetched(filled: TestClient, image_id: str) -> None:
    upload(filled, {image_id: png("red")})
    answer = filled.get(f"{IMAGES}/{quote(image_id, safe='')}")
    assert answer.json()["id"] == image_id
    assert filled.get(answer.json()["file_url"]).content == png("red")
