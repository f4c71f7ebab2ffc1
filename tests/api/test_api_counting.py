"""Searches that count over HTTP: totals, orders, cursors and refusals."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from sightline.api.schemas.common import MAX_CURSOR
from sightline.searching import count_cursors
from tests.api.installation import SHADES, problem
from tests.api.test_api_search import SEARCH, ids, search


def test_all_hits_come_in_pages_in_the_order_that_was_named(library: TestClient) -> None:
    plain = search(library, text="red", limit=6)["results"]
    matching = [hit["id"] for hit in plain if hit["match_probability"] >= 0.2]
    orders = {"created_at": None, "-metadata.length": None, "relevance": matching}
    for sort, expected in orders.items():
        asked: dict[str, Any] = {"text": "red", "min_probability": 0.2, "sort": sort, "limit": 2}
        answer = search(library, **asked)
        found = ids(answer)
        while answer["next_cursor"]:
            answer = search(library, **asked, cursor=answer["next_cursor"])
            assert (answer["total"], answer["total_is"]) == (len(matching), "exact")
            found += ids(answer)
        assert sorted(found) == sorted(matching)
        assert expected is None or found == expected


def test_metadata_with_a_number_come_in_its_order_and_others_last(library: TestClient) -> None:
    everything = {"text": "red", "min_probability": 0.0, "limit": 6}
    down = search(library, **everything, sort="-metadata.length")["results"]
    lengths = [hit["metadata"].get("length") for hit in down]
    known = [length for length in lengths if length is not None]
    assert known == sorted(known, reverse=True)
    assert lengths == known + [None] * (len(SHADES) - len(known))


def test_a_plain_search_has_no_total(library: TestClient) -> None:
    answer = search(library, text="red", min_probability=0.2)
    assert (answer["total"], answer["total_is"], answer["next_cursor"]) == (None, None, None)
    assert search(library, text="red", min_probability=0.2, exact=True)["total_is"] == "exact"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"sort": "created_at"}, "needs min_probability"),
        ({"min_probability": 0.5, "sort": "colour"}, "The parameter sort is"),
        ({"min_probability": 0.5, "cursor": "12"}, "not a cursor"),
        ({"min_probability": 0.5, "cursor": "x" * 501}, "at most 500"),
        ({"min_probability": 0.5, "exact": "yes"}, "exact"),
    ],
)
def test_what_cannot_be_counted_is_422_with_a_sentence(
    library: TestClient, body: dict[str, Any], said: str
) -> None:
    answer = problem(library.post(SEARCH, json={"text": "red"} | body), 422)
    assert said in answer["detail"]


def test_the_stream_ends_with_the_same_answer(library: TestClient) -> None:
    body = {"text": "red", "min_probability": 0.2, "sort": "-created_at", "limit": 2}
    with library.stream("POST", f"{SEARCH}?stream=1", json=body) as stream:
        text = "".join(stream.iter_text())
    assert "event: result" in text
    assert search(library, **body)["next_cursor"] in text


def test_the_longest_cursor_passes_the_door() -> None:
    longest = count_cursors.Cursor("f" * 32, 2**62, 10_000, 10_000, (2**62,) * 8).text()
    assert len(longest) <= MAX_CURSOR == count_cursors.MAX_CURSOR
