"""Scores of pairs: any one of many, many of one, or pair by pair; what makes no pair is one sentence."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.api.urls import RERANKS
from tests.api.installation import MakeClient, png, problem


def picture(name: str) -> dict[str, str]:
    return {"image": f"data:image/png;base64,{base64.b64encode(png(name)).decode()}"}


def score(client: TestClient, body: dict[str, Any], path: str = "/score") -> list[float]:
    """The scores of an answer that is checked for its shape."""
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["object"], told["model"]) == ("list", "toy")
    assert told["id"] == answer.headers["x-request-id"]
    assert [(one["index"], one["object"]) for one in told["data"]] == [
        (index, "score") for index in range(len(told["data"]))
    ]
    return [one["score"] for one in told["data"]]


def reranked(client: TestClient, text: str, documents: list[Any]) -> list[float]:
    """The same by a rerank, in the order of the documents."""
    answer = client.post("/v1/rerank", json={"query": text, "documents": documents}).json()
    found = {one["index"]: one["relevance_score"] for one in answer["results"]}
    return [found[index] for index in range(len(documents))]


@pytest.mark.parametrize(
    ("path", "first", "second"),
    [
        ("/score", "queries", "documents"),
        ("/v1/score", "queries", "items"),
        ("/score", "text_1", "text_2"),
        ("/score", "data_1", "data_2"),
    ],
)
def test_one_text_is_scored_with_each_picture(
    library: TestClient, path: str, first: str, second: str
) -> None:
    stored = {"id": "red", "collection": "pictures"}
    pictures = [picture("red"), stored, picture("red")["image"], picture("green")]
    assert score(library, {first: "red", second: pictures}, path) == pytest.approx(
        reranked(library, "red", pictures), abs=1e-6
    )


def test_a_text_is_read_however_it_is_written(library: TestClient) -> None:
    expected = reranked(library, "red", [picture("red")])
    for text in ("red", {"text": "red"}, {"content": [{"type": "text", "text": "red"}]}, ["red"]):
        found = score(library, {"queries": text, "documents": picture("red")})
        assert found == pytest.approx(expected, abs=1e-6)


def test_lists_of_one_length_are_scored_pair_by_pair_whatever_side_the_picture_is_on(
    library: TestClient,
) -> None:
    body = {
        "queries": ["red", picture("blue"), "blue"],
        "documents": [picture("red"), "blue", picture("red")],
    }
    right, also_right, wrong = score(library, body)
    [expected] = reranked(library, "red", [picture("red")])
    assert (right, also_right) == pytest.approx((expected, expected), abs=1e-6)
    assert [wrong] == pytest.approx(reranked(library, "blue", [picture("red")]), abs=1e-6)


def test_one_picture_is_scored_with_each_text(library: TestClient) -> None:
    texts = ["red", "blue", "white", "purple", "green"]
    found = score(library, {"queries": picture("red"), "documents": texts})
    expected = [reranked(library, text, [picture("red")])[0] for text in texts]
    assert found == pytest.approx(expected, abs=1e-6)
    stored = {"queries": {"id": "red", "collection": "pictures"}, "documents": texts}
    assert score(library, stored) == pytest.approx(expected, abs=1e-6)


def test_without_activation_the_match_logit_is_answered(library: TestClient) -> None:
    pictures = [picture("red"), picture("green")]
    documents = {"query": "red", "documents": pictures, "use_activation": False}
    ranked = library.post("/rerank", json=documents).json()["results"]
    assert [one["relevance_score"] for one in ranked] == [one["itm_logit"] for one in ranked]
    found = score(library, {"queries": "red", "documents": pictures, "use_activation": False})
    assert found == pytest.approx([one["itm_logit"] for one in ranked], abs=1e-6)


@pytest.mark.parametrize(
    ("queries", "documents", "says"),
    [
        (["red", "blue"], [picture("red")] * 3, "these are 2 and 3"),
        ("red", ["blue"], "pair 0 is two texts"),
        (["red", picture("red")], [picture("red")] * 2, "pair 1 is two pictures"),
        ("red", [picture("red"), "blue"], "pair 1 is two texts"),
        ("https://example.org/a.png", [picture("red")], "scored as words"),
        ([{"odd": 1}], [picture("red")], "Write a text as a string"),
        ([], [picture("red")], "at least 1 item"),
        ("?!", [picture("red")], "no words"),
        (" ", [picture("red")], "empty"),
    ],
)
def test_what_makes_no_pair_is_one_sentence(
    library: TestClient, queries: Any, documents: Any, says: str
) -> None:
    answer = library.post("/score", json={"queries": queries, "documents": documents})
    assert says in problem(answer, 422)["detail"]


def test_a_picture_that_is_none_is_named_by_where_the_client_put_it(library: TestClient) -> None:
    for first, second, pointer in (
        ("text_1", "text_2", "#/text_1/0/image"), ("queries", "documents", "#/queries/0/image"),
    ):  # fmt: skip
        body = {first: {"image": "data:image/png;base64,AAAA"}, second: "red"}
        assert problem(library.post("/score", json=body), 422)["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("path", sorted(RERANKS))
def test_limits_hold_under_every_address(make_client: MakeClient, path: str) -> None:
    client = make_client(max_documents=2, max_body_bytes=5_000, max_json_bytes=1_000)
    query = "query" if path.endswith("rerank") else "queries"
    body = {query: "red", "documents": [picture("red")] * 3}
    assert "at most 2 documents" in problem(client.post(path, json=body), 413)["detail"]
    long = {query: "red", "documents": [picture("red")], "user": "x" * 1_000}
    assert client.post(path, json=long).status_code == 200, "more than plain JSON may have"
    body = {query: "x" * 6_000, "documents": [picture("red")]}
    assert "5,000 bytes" in problem(client.post(path, json=body), 413)["detail"]
