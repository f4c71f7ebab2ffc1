"""What the page asks beside a text: thresholds, dates, the beginning of a text, clauses, saved searches."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient

from sightline.wiring import Installation
from tests.api.installation import SHADES
from tests.api.test_api_page import Tiles, state

SEARCH = "/v1/collections/pictures/search"
PART = {"X-Sightline-Part": "results"}


def found(client: TestClient, **body: Any) -> dict[str, Any]:
    """What a search over HTTP answers."""
    answer: dict[str, Any] = client.post(SEARCH, json=body).json()
    return answer


def more(page: Tiles) -> str | None:
    """Where "Show more" leads."""
    links = [values["href"] for tag, values in page.tags if tag == "a" and "data-more" in values]
    return links[0] if links else None


@pytest.mark.parametrize("sort", ["", "-created_at", "created_at", "metadata.taken_at"])
def test_pages_of_all_that_match_are_those_of_the_same_search(library: TestClient, sort: str) -> None:
    whole = found(library, text="red", min_probability=0.1, sort=sort or "relevance", limit=50)
    expected = [hit["id"] for hit in whole["results"]]
    assert len(expected) > 2
    address, seen = f"/?q=red&min=0.1&k=2&sort={sort}", list[object]()
    while address:
        answer = library.get(address, headers=PART)
        page = Tiles(answer.text)
        assert f"<strong>{whole['total']} match" in answer.text
        assert "at least 10 %" in answer.text
        assert len(page.shown()) <= 2
        seen += page.shown()
        address = more(page) or ""
    assert seen == expected


@pytest.mark.parametrize(
    ("asked", "least"), [("min=.25", 0.25), ("min=0.257", 0.26), ("min=1", 1.0), ("sort=created_at", 0.5)]
)
def test_the_threshold_of_an_address_is_that_of_the_search(
    library: TestClient, asked: str, least: float
) -> None:
    page = Tiles(library.get(f"/?q=red&{asked}", headers=PART).text)
    whole = found(library, text="red", min_probability=least, sort="relevance", limit=50)
    assert sorted(map(str, page.shown())) == sorted(hit["id"] for hit in whole["results"])


@pytest.mark.parametrize("asked", ["min=0", "min=0.00", "min=2", "min=-1", "min=nan", "min=1e-1", "sort=id"])
def test_a_threshold_that_makes_no_sense_is_none(library: TestClient, asked: str) -> None:
    plain, odd = (Tiles(library.get(f"/?q=red{one}", headers=PART).text) for one in ("", f"&{asked}"))
    assert odd.shown() == plain.shown()


def test_nothing_that_reaches_the_threshold_is_said_and_offers_the_nearest(library: TestClient) -> None:
    text = library.get("/?q=an+elephant&min=0.99").text
    assert (state(text), Tiles(text).shown()) == ("none", [])
    assert "No picture matches at 99 % or more." in text
    out = re.search(r'href="([^"]*)" data-go>Show what comes nearest', text)
    assert out
    assert parse_qs(urlsplit(out[1]).query) == {"q": ["an elephant"]}


def test_while_somebody_types_the_page_has_the_order_of_itc_and_no_probability(library: TestClient) -> None:
    expected = found(library, text="red bl", rerank=False, limit=3)["results"]
    answer = library.get("/?q=red+bl&k=3&min=0.9", headers={"X-Sightline-Part": "typing"})
    page = Tiles(answer.text)
    assert page.shown() == [hit["id"] for hit in expected]
    assert [hit["probability"] for hit, _ in page.found] == [None] * 3
    assert "not judged yet" in answer.text
    assert more(page) is None


def test_what_cannot_be_searched_for_yet_keeps_its_status(library: TestClient) -> None:
    assert library.get("/?q=-red", headers={"X-Sightline-Part": "typing"}).status_code == 422


def test_each_picture_says_how_likely_it_shows_each_clause(library: TestClient) -> None:
    query = {"all": ["red"], "none": ["blue top"]}
    hits = {hit["id"]: hit["clauses"] for hit in found(library, query=query, limit=50)["results"]}
    text = library.get("/", params={"q": 'red -"blue top"'}).text
    for hit, _ in Tiles(text).found:
        for mine, theirs in zip(hit["clauses"], hits[hit["id"]], strict=True):  # type: ignore[arg-type,index]
            assert (mine["text"], mine["role"]) == (theirs["text"], theirs["role"])
            assert mine["match_probability"] == pytest.approx(theirs["match_probability"], abs=1e-4)
    (status,) = (values for _, values in Tiles(text).tags if values.get("class") == "status")
    assert json.loads(status["data-texts"] or "") == ["red"]
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))
    assert "with red without blue top" in words


def test_a_saved_search_shows_its_members_in_the_order_of_joining(
    filled: TestClient, services: Installation
) -> None:
    saved = "/v1/collections/pictures/saved-searches"
    filled.post(saved, json={"name": "all", "text": "red", "min_probability": 0.1})
    empty = filled.get("/?collection=pictures&saved=all").text
    assert (state(empty), Tiles(empty).shown()) == ("saved", [])
    assert f"{len(SHADES)} are to be judged yet" in empty
    services.saved_judging.step(services.catalog.collection("pictures"))
    members = filled.get(f"{saved}/all/members").json()["items"]
    page = Tiles(filled.get("/?collection=pictures&saved=all").text)
    assert page.shown() == [one["image_id"] for one in members]
    assert len(members) > 2
    assert [hit["probability"] for hit, _ in page.found] == pytest.approx(
        [one["match_probability"] for one in members]
    )
    nothing = filled.get("/?collection=pictures&saved=none")
    assert (nothing.status_code, state(nothing.text)) == (404, "error")


def test_every_picture_leads_to_others_like_it(library: TestClient) -> None:
    page = Tiles(library.get("/?q=red&min=0.1&collection=pictures").text)
    links = [values["href"] or "" for _, values in page.tags if values.get("class") == "like"]
    assert [parse_qs(urlsplit(link).query) for link in links] == [
        {"like": [str(one)], "collection": ["pictures"]} for one in page.shown()
    ]
    like = library.get(links[0])
    assert (like.status_code, state(like.text)) == (200, "results")
    assert str(page.shown()[0]) not in Tiles(like.text).shown()
    assert "/thumbnail" in like.text[like.text.index('class="chips') : like.text.index('class="grid')]
