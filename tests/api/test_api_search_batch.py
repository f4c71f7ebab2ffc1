"""Many searches in one request: each is answered as if it were alone, and none holds up the others."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.api.rates import RateLimit
from tests.api.installation import MakeClient

BATCH = "/v1/collections/pictures/search/batch"
SEARCHES: tuple[dict[str, Any], ...] = (
    {"text": "red", "limit": 3},
    {"text": "all blue", "limit": 3, "rerank": False},
    {"text": "red", "limit": 2, "filter": {"must": [{"field": "metadata.length", "range": {"gte": 4}}]}},
    {"query": {"all": ["red", "blue"], "none": ["green"]}, "limit": 2},
    {"image": {"id": "red"}, "limit": 2},
    {"image": {"id": "red"}, "text": "blue", "limit": 2},
    {"text": "green", "min_probability": 0.1, "precision": "exact", "deadline_ms": 60_000},
    {"text": "green", "collapse": True, "limit": 2},
    {"text": "nothing known"},
)


def untimed(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what no two answers have in common."""
    return {name: value for name, value in answer.items() if name != "timings"}


def ask(client: TestClient, *searches: dict[str, Any]) -> Any:
    return client.post(BATCH, json={"searches": searches})


def test_each_answer_is_that_of_the_search_alone(library: TestClient) -> None:
    found = ask(library, *SEARCHES).json()
    alone = [library.post("/v1/collections/pictures/search", json=one).json() for one in SEARCHES]
    assert [untimed(one["answer"]) for one in found["answers"]] == [untimed(one) for one in alone]
    assert found["failed"] == 0
    assert found["answers"][0]["answer"]["results"][0]["id"] == "red"


def test_what_fails_alone_fails_alone_here_too(library: TestClient) -> None:
    wrong = {"image": {"id": "nothing"}}
    found = ask(library, SEARCHES[0], wrong, SEARCHES[1]).json()
    problem = library.post("/v1/collections/pictures/search", json=wrong).json()
    told = found["answers"][1]["problem"]
    assert {name: told[name] for name in ("status", "detail", "type")} == {
        name: problem[name] for name in ("status", "detail", "type")
    }
    assert [one["answer"] is None for one in found["answers"]] == [False, True, False]
    assert found["failed"] == 1


@pytest.mark.parametrize(
    ("search", "pointer"),
    [
        ({"text": ""}, "#/searches/1/text"),
        ({"text": "red", "limit": 0}, "#/searches/1/limit"),
        ({}, "#/searches/1"),
        ({"text": "red", "colour": 1}, "#/searches/1/colour"),
        ({"text": "red", "candidates": 1001}, "#/searches/1/candidates"),
        ({"text": "red", "filter": {"must": [{"field": 3}]}}, "#/searches/1/filter"),
        ({"image": "data:image/png;base64,AAAA"}, "#/searches/1/image"),
        ({"text": "red", "min_probability": 0.5, "sort": "relevance"}, "#/searches/1"),
        ({"text": "red", "score": "itc", "min_probability": 0.5}, "#/searches/1"),
    ],
)
def test_one_that_no_collection_could_answer_is_named_and_nothing_computed(
    library: TestClient, search: dict[str, Any], pointer: str
) -> None:
    answer = ask(library, {"text": "red"}, search)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_bounds_of_a_batch_name_their_number(make_client: MakeClient) -> None:
    client = make_client(max_batch_searches=2, max_batch_candidates=250)
    few = ask(client, *[{"text": "red"}] * 3)
    assert (few.status_code, "at most 2 searches" in few.json()["detail"]) == (422, True)
    many = ask(client, {"text": "red", "candidates": 150}, {"text": "red", "candidates": 101})
    assert (many.status_code, "at most 250 candidates" in many.json()["detail"]) == (422, True)
    hits = ask(client, {"text": "red", "rerank": False, "limit": 251})
    assert (hits.status_code, "at most 250 hits" in hits.json()["detail"]) == (422, True)
    assert ask(client).status_code == 422
    missing = client.post("/v1/collections/none/search/batch", json={"searches": [{"text": "red"}]})
    assert missing.status_code == 404


def test_answers_that_repeat_too_much_are_refused(make_client: MakeClient) -> None:
    client = make_client(max_answer_bytes=600)
    client.post("/v1/collections", json={"name": "pictures"})
    assert ask(client, {"text": "red"}).status_code == 200
    refused = ask(client, {"text": "red"}, {"text": "blue"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/searches")


def test_a_batch_counts_as_the_searches_that_it_holds(make_client: MakeClient) -> None:
    client = make_client(rate_per_key="5/minute", rate_per_address="", key="k" * 32)
    head = {"Authorization": f"Bearer {'k' * 32}"}
    client.post("/v1/collections", json={"name": "pictures"}, headers=head)
    body = {"searches": [{"text": "red"}] * 3}
    assert client.post(BATCH, json=body, headers=head).status_code == 200
    refused = client.post(BATCH, json=body, headers=head)
    assert (refused.status_code, "counts as the searches" in refused.json()["detail"]) == (429, True)
    assert int(refused.headers["Retry-After"]) >= 1


def test_a_rate_counts_several_at_once() -> None:
    rate = RateLimit("5/minute")
    assert rate.wait("one", 3) is None
    assert rate.wait("one", 3) is not None
    assert rate.wait("one", 2) is None
    assert rate.wait("other", 5) is None


def test_metrics_count_every_search_of_a_batch(filled: TestClient) -> None:
    ask(filled, {"text": "red"}, {"text": "blue"}, {"image": {"id": "nothing"}})
    lines = filled.get("/metrics").text.splitlines()
    [counted] = [
        line
        for line in lines
        if line.startswith('sightline_search_stage_duration_seconds_count{stage="total"}')
    ]
    assert float(counted.split()[-1]) == 2
