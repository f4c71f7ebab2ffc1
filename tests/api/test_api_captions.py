"""Captions of pictures that come with a request: bounds and rules of a rerank's documents, nothing stored."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.installation import MakeClient, problem
from tests.api.test_api_rerank import uri

CAPTIONS = "/v1/captions"
PLACES = ("top left", "top right", "bottom left", "bottom right")


def test_pictures_are_described_in_their_order(library: TestClient) -> None:
    part = {"type": "image_url", "image_url": {"url": uri("blue", "green")}}
    documents = [{"image": uri("red")}, {"content": [part]}]
    body = library.post(CAPTIONS, json={"documents": documents, "n": 2}).json()
    assert body["model"] == "toy"
    told = [[(one["text"], one["log_probability"]) for one in row["captions"]] for row in body["results"]]
    assert told == [
        [("red top left", -1.0), ("red top right", -2.0)],
        [("blue top left", -1.0), ("green top right", -2.0)],
    ]
    assert [row["index"] for row in body["results"]] == [0, 1]


def test_prompt_sampling_and_seed_reach_the_model(library: TestClient) -> None:
    asked = {"documents": {"content": [{"type": "image_url", "image_url": {"url": uri("red", "blue")}}]}}
    drawn = library.post(CAPTIONS, json=asked | {"sampling": "nucleus", "seed": 1, "prompt": "I see"}).json()
    assert (
        drawn["results"][0]["captions"][0]["text"] == "I see blue top left"
    )  # the toy's odd draws are wrong


@pytest.mark.parametrize(
    ("asked", "pointer", "said"),
    [
        ({"documents": []}, "#/documents", "at least 1"),
        ({"documents": [{"image": uri("red")}] * 101}, "#/documents", "100"),
        ({"documents": ["a red car"]}, "#/documents/0", "Documents are pictures"),
        ({"documents": [{"id": "red", "collection": "pictures"}]}, "#/documents/0", "by a job"),
        ({"documents": [{"image": "https://example.org/a.png"}]}, "#/documents/0/image", "not fetched"),
        (
            {"documents": [{"image": "data:image/png;base64,AAAA"}]},
            "#/documents/0/image",
            "no usable picture",
        ),
        ({"n": 0}, "#/n", ""),
        ({"n": 21}, "#/n", "20"),
        ({"n": 2, "sampling": "greedy"}, None, "one caption"),
        ({"sampling": "guess"}, "#/sampling", ""),
        ({"prompt": "x" * 1_001}, "#/prompt", "1000"),
        ({"seed": -1}, "#/seed", ""),
        ({"model": "someone/else"}, None, "not served"),
        ({"odd": 1}, "#/odd", "no such field"),
    ],
)
def test_what_cannot_be_described_is_refused_where_it_stands(
    library: TestClient, asked: dict[str, Any], pointer: str | None, said: str
) -> None:
    body = problem(library.post(CAPTIONS, json={"documents": [{"image": uri("red")}]} | asked), 422)
    if pointer is not None:
        assert body["errors"][0]["pointer"] == pointer
    assert said in body["detail"]


def test_bounds_are_those_of_a_rerank(make_client: MakeClient) -> None:
    documents = [{"image": uri("red")}] * 3
    few = make_client(max_documents=2).post(CAPTIONS, json={"documents": documents})
    assert "at most 2 documents" in problem(few, 413)["detail"]
    small = make_client(max_document_pixels=100).post(CAPTIONS, json={"documents": documents})
    assert "MAX_DOCUMENT_PIXELS" in problem(small, 413)["detail"]
    short = make_client(max_body_bytes=100, max_json_bytes=10_000).post(
        CAPTIONS, json={"documents": documents}
    )
    assert problem(short, 413)["detail"].startswith("The body")


def test_a_picture_may_be_larger_than_other_json(make_client: MakeClient) -> None:
    client = make_client(max_json_bytes=100)
    assert client.post(CAPTIONS, json={"documents": [{"image": uri("red")}]}).status_code == 200
