"""Every error is a problem document that says what was wrong, and no request body can make a 5xx."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sightline.api.app import create_app
from sightline.searching.search import Search
from sightline.wiring import Installation
from tests.api.installation import MakeClient, problem

JSON_POSTS = (
    "/v1/collections",
    "/v1/collections/pictures/search",
    "/v1/collections/pictures/jobs",
    "/v1/rerank",
)


def test_unknown_addresses_are_problems(client: TestClient) -> None:
    for path in (
        "/v1/nothing",
        "/static/nothing.css",
        "/v1/collections/pictures/images/",
        "/v1/collections/",
    ):
        assert problem(client.get(path), 404)["instance"] == path


def test_wrong_methods_are_problems_that_name_the_right_ones(client: TestClient) -> None:
    answer = client.put("/v1/collections")
    problem(answer, 405)
    assert {"GET", "POST"} & set(answer.headers["allow"].replace(",", " ").split())


def test_unknown_fields_are_refused_by_name(client: TestClient) -> None:
    body = problem(client.post("/v1/collections", json={"name": "a", "colour": "red"}), 422)
    assert body["errors"] == [{"pointer": "#/colour", "detail": "There is no such field."}]


def test_numbers_in_quotes_are_no_numbers(client: TestClient) -> None:
    body = problem(client.post("/v1/collections/pictures/search", json={"text": "a", "limit": "10"}), 422)
    assert [item["pointer"] for item in body["errors"]] == ["#/limit"]


@pytest.mark.parametrize(
    ("path", "body", "pointer", "told"),
    [
        ("pictures/search", {"text": "  "}, "#/text", "It is empty; write some text."),
        ("pictures/search", {"text": ""}, "#/text", "It is empty; write some text."),
        ("pictures/search", {"query": {"all": [" "]}}, "#/query/all/0", "It is empty; write some text."),
        ("pictures/search", {"query": {"any": ["a"] * 9}}, "#/query/any", "There may be at most 8, not 9."),
        (
            "pictures/saved-searches",
            {"name": "a/b", "text": "a", "min_probability": 0.5},
            "#/name",
            "A name has",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_words_and_not_as_a_pattern(
    client: TestClient, path: str, body: dict[str, Any], pointer: str, told: str
) -> None:
    (error,) = problem(client.post(f"/v1/collections/{path}", json=body), 422)["errors"]
    assert error["pointer"] == pointer
    assert error["detail"].startswith(told)


def test_query_parameters_are_named(client: TestClient) -> None:
    body = problem(client.get("/v1/jobs", params={"limit": 0}), 422)
    assert [item["parameter"] for item in body["errors"]] == ["limit"]


def test_broken_json_is_400(client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    body = problem(client.post("/v1/rerank", content=b'{"query": ', headers=headers), 400)
    assert "not valid JSON" in body["detail"]


def test_other_media_types_are_415(client: TestClient) -> None:
    answer = client.post("/v1/rerank", content=b"{}", headers={"Content-Type": "text/plain"})
    assert "application/json" in problem(answer, 415)["detail"]


def test_a_declared_length_over_the_limit_is_413(make_client: MakeClient) -> None:
    client = make_client(max_body_bytes=1000)
    assert "1,000" in problem(client.post("/v1/rerank", json={"query": "x" * 1000}), 413)["detail"]


def test_an_undeclared_length_over_the_limit_is_413(make_client: MakeClient) -> None:
    client = make_client(max_body_bytes=1000, max_upload_bytes=1000)
    chunks = (b" " * 300 for _ in range(10))
    problem(client.post("/v1/rerank", content=chunks, headers={"Content-Type": "application/json"}), 413)
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    body = (part for part in [head, *[b"x" * 65536] * 40])
    problem(client.post("/v1/collections/pictures/images", content=body, headers=form), 413)


def test_what_nobody_expected_is_a_500_without_secrets(services: Installation) -> None:
    class Broken:
        def find(self, request: object, watch: object) -> object:
            raise RuntimeError("the password is swordfish")

    parts = replace(services.api_parts, search=cast("Search", Broken()))
    client = TestClient(create_app(parts), raise_server_exceptions=False)
    answer = client.post("/v1/collections/pictures/search", json={"text": "a"})
    assert "swordfish" not in answer.text
    problem(answer, 500)


def test_request_ids_come_back_and_are_kept_clean(client: TestClient) -> None:
    assert client.get("/livez", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    odd = client.get("/livez", headers={"X-Request-ID": "a b\tc"}).headers["x-request-id"]
    assert len(odd) == 32
    assert odd != client.get("/livez").headers["x-request-id"]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["a", "pictures", "itm", "\0", "data:,", "data:image/png;base64,AAAA", "http://x/y.png"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["text", "name", "model", "limit", "filter", "documents", "query", "image", "id", "collection",
             "content", "must", "field", "equals", "in", "range", "gte", "sources", "min_probability", "url",
             "type", "image_url", "top_n", "candidates", "score"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(JSON_POSTS), body=VALUES)
@example(
    "/v1/collections/pictures/search", {"text": "red", "filter": {"field": "metadata.a", "equals": 2**70}}
)
@example("/v1/collections/pictures/search", {"text": "\0"})
@example(
    "/v1/collections/pictures/search", {"text": "red", "filter": {"must": [{"field": "id", "equals": "\0"}]}}
)
@example("/v1/rerank", {"query": "a", "documents": ["data:,"]})
@example("/v1/rerank", {"query": "a", "documents": {"content": [1]}})
def test_no_json_makes_a_server_error(filled: TestClient, path: str, body: Any) -> None:
    answer = filled.post(path, json=body)
    if answer.status_code >= 400:
        problem(answer, answer.status_code)
    assert answer.status_code < 500 or answer.status_code == 503, answer.text


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"text": "a", "filter": ' + '{"must": [' * 500 + "]}" * 500 + "}",
        '{"text": "a", "filter": {"field": "id", "equals": NaN}}',
        r'{"text": "\ud800"}',
        r'{"text": "a", "filter": {"field": "id", "equals": "\ud800"}}',
        '{"text": "a", "filter": {"field": "id", "equals": ' + "9" * 5000 + "}}",
    ],
)
def test_hostile_json_is_refused(library: TestClient, text: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = library.post("/v1/collections/pictures/search", content=text.encode(), headers=headers)
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code)
