"""Search over HTTP: the toy model's scores are computed here by hand."""

from __future__ import annotations

from dataclasses import MISSING, fields
from math import exp
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.api.schemas.search_body import SearchBody
from sightline.records import SearchRequest
from tests.api.installation import SHADES, MakeClient, problem

SEARCH = "/v1/collections/pictures/search"


def search(client: TestClient, **body: Any) -> Any:
    """The JSON of a search that succeeds."""
    answer = client.post(SEARCH, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: Any) -> list[str]:
    """Image ids in the order of the answer."""
    return [hit["id"] for hit in answer["results"]]


def test_itm_puts_the_parts_before_the_mixture(library: TestClient) -> None:
    # "red blue": purple lies nearest to the text vector; only "half" has both colours (a = 1, w = 1/3)
    answer = search(library, text="red blue")
    first = answer["results"][0]
    assert first["id"] == "half"
    assert first["itm_logit"] == pytest.approx(4.0)
    assert first["match_probability"] == pytest.approx(1 / (1 + exp(2 / 3 - 4)), abs=1e-6)
    assert first["score"] == pytest.approx(first["itm_logit"] + first["itc"], abs=1e-6)
    assert first["itc_rank"] > 1
    assert ids(search(library, text="red blue", rerank=False))[0] == "purple"
    assert ids(search(library, text="red blue", score="itc"))[0] == "purple"


def test_an_answer_has_every_field(library: TestClient) -> None:
    answer = search(library, text="green", limit=1)
    assert set(answer) == {
        "results", "truncated", "timings", "generation", "images", "scored", "degraded", "effort", "reached",
        "approximate", "recall", "total", "total_is", "next_cursor",
        "unknown_words", "notes",
    }  # fmt: skip
    assert set(answer["timings"]) == {"encode_ms", "retrieve_ms", "rerank_ms", "total_ms"}
    (hit,) = answer["results"]
    assert set(hit) == {
        "id", "key", "sha256", "uri", "rank", "score", "itc", "itc_rank", "itm_logit", "match_probability",
        "match_probability_raw", "caption",
        "metadata", "width", "height", "thumbnail_url", "file_url", "found_by", "matched_text",
        "instruction_probability", "clauses", "explanation", "similarity", "duplicates",
    }  # fmt: skip
    assert (hit["found_by"], hit["matched_text"]) == ("both", "all green")
    assert (hit["id"], hit["rank"], hit["caption"], hit["metadata"]) == (
        "green",
        1,
        "all green",
        {"length": 5},
    )
    assert library.get(hit["thumbnail_url"]).status_code == 200
    assert (answer["images"], answer["scored"]) == (len(SHADES), len(SHADES))


def test_beyond_the_candidates_itc_order_goes_on(library: TestClient) -> None:
    by_itc = ids(search(library, text="red blue", rerank=False))
    answer = search(library, text="red blue", candidates=2, limit=6)
    judged = [hit["itm_logit"] is not None for hit in answer["results"]]
    assert judged == [True, True, False, False, False, False]
    assert answer["scored"] == 2
    assert sorted(ids(answer)[:2]) == sorted(by_itc[:2])
    assert ids(answer)[2:] == by_itc[2:]
    assert [hit["rank"] for hit in answer["results"]] == [1, 2, 3, 4, 5, 6]


def test_pages_join_to_the_whole(library: TestClient) -> None:
    whole = search(library, text="red blue", limit=6)["results"]
    pages = [search(library, text="red blue", limit=2, offset=offset)["results"] for offset in (0, 2, 4, 6)]
    assert [hit for page in pages for hit in page] == whole


def test_min_probability_applies_before_the_offset(library: TestClient) -> None:
    whole = search(library, text="red blue", limit=6)["results"]
    least = sorted((hit["match_probability"] for hit in whole), reverse=True)[2]
    good = [hit["id"] for hit in whole if hit["match_probability"] >= least]
    assert len(good) == 3
    assert ids(search(library, text="red blue", min_probability=least)) == good
    assert ids(search(library, text="red blue", min_probability=least, offset=1)) == good[1:]
    assert ids(search(library, text="red blue", min_probability=1.0)) == []


def test_a_deadline_leaves_the_rest_in_itc_order(library: TestClient) -> None:
    late = search(library, text="red blue", deadline_ms=1e-6)
    assert late["scored"] == 0
    assert ids(late) == ids(search(library, text="red blue", rerank=False))
    assert ids(search(library, text="red blue", deadline_ms=60_000, precision="exact"))[0] == "half"


def test_filters_select_before_the_candidates(library: TestClient) -> None:
    wanted = {"must": [{"field": "metadata.length", "equals": 4}]}
    answer = search(library, text="red", candidates=1, limit=6, filter=wanted)
    assert sorted(ids(answer)) == ["blue", "half"]
    assert answer["images"] == 2


def test_long_texts_are_cut_and_the_answer_says_so(library: TestClient) -> None:
    assert search(library, text="red " * 17)["truncated"] is True
    assert search(library, text="red " * 16)["truncated"] is False


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"text": ""}, "#/text"),
        ({"text": " \n"}, "#/text"),
        ({}, "#"),
        ({"text": "a", "limit": 0}, "#/limit"),
        ({"text": "a", "limit": 1.5}, "#/limit"),
        ({"text": "a", "limit": 10**30}, "#/limit"),
        ({"text": "a", "offset": -1}, "#/offset"),
        ({"text": "a", "offset": 10_000, "limit": 1}, "#"),
        ({"text": "a", "candidates": 1001}, "#/candidates"),
        ({"text": "a", "score": "itm*itc"}, "#/score"),
        ({"text": "a", "rerank": "no"}, "#/rerank"),
        ({"text": "a", "min_probability": 1.1}, "#/min_probability"),
        ({"text": "a", "min_probability": 0.5, "rerank": False}, "#"),
        ({"text": "a", "precision": "double"}, "#/precision"),
        ({"text": "a", "deadline_ms": 0}, "#/deadline_ms"),
        ({"text": "a", "effort": "some"}, "#/effort"),
        ({"text": "a", "filter": []}, "#/filter"),
        ({"text": "a", "top_k": 5}, "#/top_k"),
    ],
)
def test_bodies_that_make_no_sense_are_refused_in_place(
    library: TestClient, body: dict[str, Any], where: str
) -> None:
    errors = problem(library.post(SEARCH, json=body), 422)["errors"]
    assert [error["pointer"] for error in errors] == [where]


def test_the_body_has_every_field_of_the_record_with_its_default() -> None:
    named = {
        name: field.default for name, field in SearchBody.model_fields.items() if not field.is_required()
    }
    assert named == {one.name: one.default for one in fields(SearchRequest) if one.default is not MISSING}
    everything: dict[str, Any] = {
        "text": "a", "limit": 2, "offset": 3, "candidates": 4, "rerank": True, "score": "itm",
        "filter": {"must": []}, "min_probability": 0.5, "precision": "exact", "deadline_ms": 6.5,
        "effort": "quick",
    }  # fmt: skip
    assert SearchBody(**everything).to_request("c") == SearchRequest("c", **everything)


def test_wrong_filters_are_told_in_a_sentence(library: TestClient) -> None:
    body = problem(library.post(SEARCH, json={"text": "a", "filter": {"mst": []}}), 422)
    assert body["type"].endswith(":invalid-filter")


def test_the_bound_on_candidates_is_a_setting(make_client: MakeClient) -> None:
    client = make_client(max_candidates=10)
    client.post("/v1/collections", json={"name": "pictures"})
    problem(client.post(SEARCH, json={"text": "a"}), 422)
    assert client.post(SEARCH, json={"text": "a", "candidates": 10}).json()["results"] == []
