"""Pictures as queries over HTTP: in the JSON, stored, on the web, uploaded; and on the page."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.store.issuing import issue
from sightline.wiring import Installation
from tests.api.installation import MakeClient, png, problem, upload

SEARCH = "/v1/collections/pictures/search"


def uri(*quarters: str) -> str:
    return f"data:image/png;base64,{base64.b64encode(png(*quarters)).decode()}"


def search(client: TestClient, **body: Any) -> Any:
    answer = client.post(SEARCH, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def uploaded(client: TestClient, data: bytes, address: str = f"{SEARCH}/image", **fields: str) -> Any:
    return client.post(address, files={"image": ("any.png", data, "image/png")}, data=fields)


def places(answer: Any) -> list[tuple[str, float]]:
    return [(hit["id"], hit["score"]) for hit in answer["results"]]


def test_a_data_uri_an_upload_and_a_stored_picture_ask_the_same(library: TestClient) -> None:
    by_uri = search(library, image=uri("red", "blue"))
    by_upload = uploaded(library, png("red", "blue"))
    assert by_upload.status_code == 200, by_upload.text
    assert places(by_uri) == places(by_upload.json())
    assert by_uri["results"][0]["id"] == "half"
    assert by_uri["results"][0]["score"] == pytest.approx(1, abs=1e-3)
    by_id = search(library, image={"id": "half"})
    assert places(by_id) == [one for one in places(by_uri) if one[0] != "half"]
    assert places(search(library, image={"id": "half", "collection": "pictures"})) == places(by_id)
    first = by_id["results"][0]
    assert first["similarity"] == first["score"] == first["itc"]
    assert (first["match_probability"], first["itm_logit"], by_id["scored"]) == (None, None, 0)


def test_with_a_text_beside_it(library: TestClient) -> None:
    answer = search(library, image={"id": "red"}, text="blue")
    alone = {hit["id"]: hit["match_probability"] for hit in search(library, text="blue")["results"]}
    assert answer["scored"] == 5
    for hit in answer["results"]:
        assert hit["match_probability"] == alone[hit["id"]]
        assert hit["score"] == pytest.approx(hit["similarity"] * hit["match_probability"])
    told = uploaded(library, png("green"), search=json.dumps({"text": "blue", "limit": 2}))
    assert len(told.json()["results"]) == 2
    assert told.json()["scored"] == 6


def test_a_count_goes_on_with_the_same_picture_however_it_is_sent(library: TestClient) -> None:
    asked = {"text": "blue", "min_probability": 0, "sort": "relevance", "limit": 4}
    by_id = search(library, image={"id": "half"}, **asked)
    assert (by_id["total"], by_id["next_cursor"] is not None) == (5, True)
    whole = {one: search(library, image=uri(one), **asked | {"limit": 10}) for one in ("red", "green")}
    assert places(whole["red"]) != places(whole["green"])
    for _ in range(3):
        for color, every in whole.items():
            first = search(library, image=uri(color), **asked)
            cursor = first["next_cursor"]
            second = search(library, image=uri(color), cursor=cursor, **asked)
            assert places(first) + places(second) == places(every)
            body = json.dumps(asked | {"cursor": cursor})
            sent = uploaded(library, png(color), search=body)
            assert sent.status_code == 200, sent.text
            assert places(sent.json()) == places(second)
    another = problem(library.post(SEARCH, json=asked | {"image": uri("blue"), "cursor": cursor}), 422)
    assert "another search" in another["detail"]


def test_as_events(library: TestClient) -> None:
    for answer in (
        library.post(f"{SEARCH}?stream=1", json={"image": uri("red"), "text": "blue"}),
        uploaded(library, png("red"), f"{SEARCH}/image?stream=1", search='{"text": "blue"}'),
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        names = [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]
        assert (names[0], names[-1]) == ("candidates", "result")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "Say what to find"),
        ({"image": "red.png"}, 422, "Pictures of this address"),
        ({"image": "data:image/png;base64,AAAA"}, 422, "The query picture is no usable picture"),
        ({"image": "data:image/png;base64,?"}, 422, "valid base64"),
        ({"image": "https://example.org/red.png"}, 422, "SIGHTLINE_FETCH__ENABLED"),
        ({"image": 5}, 422, "data URI"),
        ({"image": {"data": "x"}}, 422, "no such field|required"),
        ({"image": {"id": "nothing"}}, 404, "nothing"),
        ({"image": {"id": "red", "collection": "nowhere"}}, 404, "nowhere"),
        ({"image": {"id": "red"}, "min_probability": 0.5}, 422, "min_probability is about a text"),
    ],
)
def test_what_cannot_be_asked_with_is_told_in_one_sentence(
    library: TestClient, body: dict[str, Any], status: int, said: str
) -> None:
    told = problem(library.post(SEARCH, json=body), status)
    assert re.search(said, json.dumps(told))


def test_an_upload_that_does_not_fit_is_told(library: TestClient) -> None:
    assert "no usable picture" in problem(uploaded(library, b"text"), 422)["detail"]
    assert "is empty" in problem(uploaded(library, b""), 422)["detail"]
    wrong = problem(uploaded(library, png("red"), search="{"), 422)
    assert "not valid JSON" in wrong["detail"]
    wrong = problem(uploaded(library, png("red"), search='{"limit": 0}'), 422)
    assert wrong["errors"][0]["pointer"] == "#/search/limit"
    wrong = problem(uploaded(library, png("red"), search='{"image": {"id": "red"}}'), 422)
    assert wrong["errors"][0]["pointer"] == "#/search/image"
    two = [("image", ("a", png("red"), "image/png")), ("image", ("b", png("red"), "image/png"))]
    assert "one picture" in problem(library.post(f"{SEARCH}/image", files=two), 422)["detail"]
    problem(library.post(f"{SEARCH}/image", json={}), 415)


def test_a_picture_has_the_limits_of_those_of_a_rerank(make_client: MakeClient) -> None:
    client = make_client(max_document_pixels=10, max_json_bytes=2_000, max_body_bytes=10_000)
    client.post("/v1/collections", json={"name": "pictures"})
    too_large = problem(client.post(SEARCH, json={"image": uri("red")}), 413)
    assert "SIGHTLINE_API__MAX_DOCUMENT_PIXELS" in too_large["detail"]
    assert "10,000 bytes" in problem(client.post(SEARCH, json={"image": "x" * 20_000}), 413)["detail"]
    problem(uploaded(client, b"x" * 20_000), 413)
    problem(uploaded(client, b"x" * 20_000, "/like"), 413)
    # Longer than plain JSON may be, and let in for its picture: refused for what it is.
    assert problem(client.post(SEARCH, json={"image": "data:," + "x" * 5_000}), 422)


def test_a_picture_that_is_not_indexed_yet_is_told(filled: TestClient) -> None:
    upload(filled, {"late": png("red")})
    assert "not indexed yet" in problem(filled.post(SEARCH, json={"image": {"id": "late"}}), 503)["detail"]


def test_the_page_shows_what_is_like_a_picture(library: TestClient) -> None:
    page = library.get("/", params={"collection": "pictures", "like": "half"}).text
    assert "5 compared" in page
    assert "like half" in page  # a chip, whose address is the page without it
    assert 'data-state="results"' in page
    assert '"similarity": 0.' in page.replace("&#34;", '"')
    assert 'name="like" value="half">' in page
    both = library.get("/", params={"collection": "pictures", "like": "half", "q": "blue"}).text
    assert "5 judged of 5" in both
    gone = library.get("/", params={"collection": "pictures", "like": "nothing"})
    assert gone.status_code == 404


def test_a_picture_that_is_dropped_on_the_page_is_asked_with(library: TestClient) -> None:
    part = {"X-Sightline-Part": "results"}
    for headers in ({}, part):
        answer = library.post(
            "/like",
            files={"image": ("a.png", png("green"))},
            data={"collection": "pictures"},
            headers=headers,
        )
        assert answer.status_code == 200
        assert ("<!doctype html>" in answer.text) == (not headers)
        assert "6 compared" in answer.text
        assert answer.text.index("images/green/") < answer.text.index("images/red/")
    both = uploaded(library, png("green"), "/like", collection="pictures", q="red")
    assert "6 judged of 6" in both.text
    wrong = uploaded(library, b"no picture", "/like", collection="pictures")
    assert (wrong.status_code, "no usable picture" in wrong.text) == (422, True)
    events = library.post(
        "/like", files={"image": ("a.png", png("green"))}, data={"collection": "pictures", "q": "red"},
        headers={"X-Sightline-Part": "events"},
    )  # fmt: skip
    assert events.headers["content-type"].startswith("text/event-stream")


def test_a_key_asks_with_pictures_of_its_collections_only(filled: TestClient, services: Installation) -> None:
    services.collections.create("other")
    _, secret = issue(services.catalog, "reader", "read", ["other"])
    headers = {"Authorization": f"Bearer {secret}"}
    for there, collection in (("red", "pictures"), ("red", "nowhere")):
        body = {"image": {"id": there, "collection": collection}}
        answer = filled.post("/v1/collections/other/search", json=body, headers=headers)
        assert problem(answer, 404)["detail"] == f"There is no collection '{collection}'."


def test_the_pages_of_a_count_are_of_the_picture_that_was_asked_with(library: TestClient) -> None:
    """By its bytes: a cursor goes with the same picture and no other, and no count is taken for another's."""
    counted: dict[str, Any] = {"text": "red", "min_probability": 0.0, "sort": "relevance", "limit": 4}

    def by_upload(*quarters: str, **more: Any) -> Any:
        return uploaded(library, png(*quarters), search=json.dumps(counted | more))

    def by_uri(*quarters: str, **more: Any) -> Any:
        return library.post(SEARCH, json=counted | more | {"image": uri(*quarters)})

    for ask in (by_upload, by_uri):
        alone = places(ask("red", limit=6).json())
        first = ask("red").json()
        second = ask("red", cursor=first["next_cursor"])
        assert second.status_code == 200, second.text
        assert places(first) + places(second.json()) == alone
        told = problem(ask("blue", cursor=first["next_cursor"]), 422)
        assert "of another search" in told["detail"]
