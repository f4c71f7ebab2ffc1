"""Compound queries over HTTP and on the page; probabilities are computed here by hand."""

from __future__ import annotations

import json
from math import exp
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.installation import MakeClient, problem
from tests.api.test_api_page import Tiles, state
from tests.api.test_api_search_stream import events

SEARCH = "/v1/collections/pictures/search"


def search(client: TestClient, query: Any, **more: Any) -> Any:
    """The hits of a compound query that succeeds."""
    answer = client.post(SEARCH, json={"query": query, "limit": 6, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def logistic(agreement: float, lightness: float) -> float:
    """The toy's match probability: logits (2 · lightness, 8 · agreement − 4)."""
    return 1 / (1 + exp(2 * lightness - (8 * agreement - 4)))


def test_not_is_the_product_with_what_is_left(library: TestClient) -> None:
    hits = search(library, {"all": ["red"], "none": ["blue"]})
    first = hits[0]
    # All red: a = 1 for red and 1/3 for blue, w = 1/3.
    red, blue = logistic(1, 1 / 3), logistic(1 / 3, 1 / 3)
    assert first["id"] == "red"
    assert first["match_probability"] == pytest.approx(red * (1 - blue), abs=1e-5)
    assert [(one["text"], one["role"]) for one in first["clauses"]] == [("red", "all"), ("blue", "none")]
    assert [one["match_probability"] for one in first["clauses"]] == pytest.approx([red, blue], abs=1e-5)
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


def test_strings_and_objects_with_a_weight_are_clauses(library: TestClient) -> None:
    plain = search(library, {"all": ["red"], "any": ["blue"], "none": ["green"]})
    told = {name: [{"text": text}] for name, text in (("all", "red"), ("any", "blue"), ("none", "green"))}
    assert search(library, told) == plain
    light = search(library, told | {"any": [{"text": "blue", "weight": 0.5}]})
    of_red = {hit["id"]: hit["match_probability"] for hit in plain}
    assert all(hit["match_probability"] > of_red[hit["id"]] for hit in light)


def test_a_text_over_http_is_never_parsed(library: TestClient) -> None:
    body = {"text": 'red -"blue" + green', "limit": 6}
    plain = library.post(SEARCH, json=body).json()["results"]
    same = library.post(SEARCH, json=body | {"text": "red blue green"}).json()["results"]
    assert [(hit["id"], hit["score"]) for hit in plain] == [(hit["id"], hit["score"]) for hit in same]
    signs = search(library, {"all": ["red -blue"]})
    assert [one["text"] for one in signs[0]["clauses"]] == ["red -blue"]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({}, "#/query"),
        ([], "#/query"),
        ("red", "#/query"),
        ({"none": ["red"]}, "#/query"),
        ({"all": [""]}, "#/query/all/0"),
        ({"all": ["red", 3]}, "#/query/all/1"),
        ({"all": ["x" * 2001]}, "#/query/all/0"),
        ({"all": [{"text": "red", "weight": 0}]}, "#/query/all/0/weight"),
        ({"all": [{"text": "red", "weight": 2}]}, "#/query/all/0/weight"),
        ({"all": [{"text": "red", "weight": "1"}]}, "#/query/all/0/weight"),
        ({"all": [{"weight": 1}]}, "#/query/all/0/text"),
        ({"all": [{"text": "red", "boost": 1}]}, "#/query/all/0/boost"),
        ({"all": ["red"] * 9}, "#/query/all"),
        ({"all": ["red"] * 5, "none": ["blue"] * 5}, "#/query"),
        ({"must": ["red"]}, "#/query/must"),
    ],
)
def test_queries_that_make_no_sense_are_refused_in_place(library: TestClient, query: Any, where: str) -> None:
    errors = problem(library.post(SEARCH, json={"query": query}), 422)["errors"]
    assert where in {error["pointer"] for error in errors}


def test_either_a_text_or_a_query_is_asked(library: TestClient) -> None:
    for body in ({}, {"text": "red", "query": {"all": ["red"]}}, {"query": None}):
        problem(library.post(SEARCH, json=body), 422)
    matcher = {"query": {"all": ["red"]}, "matcher": {"instruction": "Is it red?"}}
    assert library.post(SEARCH, json=matcher).status_code in (422, 403, 503)


def test_candidates_count_once_for_each_clause(library: TestClient) -> None:
    two = {"all": ["red"], "none": ["blue"]}
    assert search(library, two, candidates=500)
    refused = problem(library.post(SEARCH, json={"query": two, "candidates": 501}), 422)
    assert refused["errors"][0]["pointer"] == "#/candidates"
    assert "500 candidates of a search with 2 clauses" in refused["detail"]


def test_a_streamed_search_ends_with_the_answer_that_it_is_without(library: TestClient) -> None:
    body = {"query": {"all": ["red"], "none": ["blue"]}, "limit": 6}
    told = events(library.post(f"{SEARCH}?stream=1", json=body))
    assert (told[0][0], told[-1][0]) == ("candidates", "result")
    assert {json.dumps(hit["clauses"]) for hit in told[0][1]["results"]} == {"[]"}
    assert told[-1][1]["results"] == search(library, body["query"])


def test_the_box_of_the_page_reads_signs(library: TestClient) -> None:
    answer = library.get("/?q=red+-blue")
    assert state(answer.text) == "results"
    assert Tiles(answer.text).shown() == [
        hit["id"] for hit in search(library, {"all": ["red"], "none": ["blue"]})
    ]
    plain = library.post(SEARCH, json={"text": "red blue", "limit": 6}).json()["results"]
    assert Tiles(library.get("/?q=red+blue").text).shown() == [hit["id"] for hit in plain]


def test_the_page_says_in_a_sentence_that_a_query_looks_for_nothing(library: TestClient) -> None:
    answer = library.get("/?q=-blue")
    assert (answer.status_code, state(answer.text)) == (422, "error")
    assert "only what the pictures should not show" in answer.text


def test_the_page_scores_no_more_than_a_search_may(make_client: MakeClient) -> None:
    client = make_client(max_candidates=3)
    client.post("/v1/collections", json={"name": "pictures"})
    assert client.get("/?q=a+-b+-c+-d").status_code == 200
