"""Pictures as real clients write them into JSON: the bytes decide, whatever stands around them."""

from __future__ import annotations

import base64
import random
import textwrap
import tracemalloc
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

import pytest
from fastapi.testclient import TestClient

from sightline.api.data_uris import data_of, without_percents
from sightline.api.problems import Problem
from tests.api.installation import png, problem


def odd_picture() -> bytes:
    """The smallest square whose base64 has padding and both letters that addresses write otherwise."""
    for side in range(8, 200, 2):
        data = png("red", "blue", "purple", "green", side=side)
        if len(data) % 3 and {"+", "/"} <= set(base64.b64encode(data).decode()):
            return data
    raise AssertionError("There is none.")


DATA = odd_picture()
PLAIN = base64.b64encode(DATA).decode()
SPELLINGS = {
    "as it should be": f"data:image/png;base64,{PLAIN}",
    "the wrong type": f"data:image/jpeg;base64,{PLAIN}",
    "the type of a text": f"data:text/plain;charset=utf-8;base64,{PLAIN}",
    "no type": f"data:;base64,{PLAIN}",
    "no type and no semicolon": f"data:base64,{PLAIN}",
    "capitals": f"DATA:IMAGE/PNG;BASE64,{PLAIN}",
    "a space before the payload": f"data:image/png;base64, {PLAIN}",
    "spaces around": f"  data:image/png;base64,{PLAIN}\n",
    "lines as MIME has them": "data:image/png;base64,\r\n" + "\r\n".join(textwrap.wrap(PLAIN, 76)),
    "lines as base64 has them": "data:image/png;base64," + "\n".join(textwrap.wrap(PLAIN, 76)) + "\n",
    "no padding": "data:image/png;base64," + PLAIN.rstrip("="),
    "the alphabet of addresses": "data:image/png;base64," + base64.urlsafe_b64encode(DATA).decode(),
    "both": "data:image/png;base64," + base64.urlsafe_b64encode(DATA).decode().rstrip("="),
    "percent signs": "data:image/png;base64," + quote(PLAIN, safe=""),
    "no base64": "data:image/png," + quote_from_bytes(DATA),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_data_uri_is_read_however_it_is_spelt(library: TestClient, spelling: str) -> None:
    part = {"type": "image_url", "image_url": {"url": spelling}}
    documents = [
        {"image": SPELLINGS["as it should be"]}, {"image": spelling}, spelling, {"text": spelling},
        {"type": "image", "value": spelling}, {"content": [part]}, part,
    ]  # fmt: skip
    answer = library.post("/v1/rerank", json={"query": "red blue", "documents": documents})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [one["index"] for one in results] == list(range(len(documents))), "one picture, so in their order"
    assert len({one["relevance_score"] for one in results}) == 1
    assert data_of(spelling.strip(), "/image") == DATA


def test_base64_alone_is_a_picture_where_only_a_picture_can_be(library: TestClient) -> None:
    documents = [{"image": SPELLINGS["as it should be"]}, {"image": PLAIN}, {"type": "image", "value": PLAIN}]
    answer = library.post("/v1/rerank", json={"query": "red blue", "documents": documents}).json()
    assert len({one["relevance_score"] for one in answer["results"]}) == 1
    body = {"query": "red blue", "documents": [PLAIN]}
    assert "Documents are pictures" in problem(library.post("/v1/rerank", json=body), 422)["detail"]


@pytest.mark.parametrize("payload", ["é", "A", "AA=A", "AB!=", "%zz", "AAAA=AAA"])
def test_what_is_no_base64_is_said(payload: str) -> None:
    with pytest.raises(Problem, match="does not hold valid base64"):
        data_of(f"data:;base64,{payload}", "/image")


@pytest.mark.parametrize("uri", ["data:image/png;base64", "data:", "data:" + "x" * 2_000 + ",AAAA"])
def test_a_data_uri_without_a_comma_near_its_beginning_is_said(uri: str) -> None:
    with pytest.raises(Problem, match="no comma"):
        data_of(uri, "/image")


def test_bytes_come_back_whatever_they_are() -> None:
    for size in range(40):
        data = bytes((7 * size + 31 * place) % 256 for place in range(size))
        for encoded in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
            for text in (encoded.decode(), encoded.decode().rstrip("=")):
                assert data_of(f"data:;base64,{text}", "") == data


def test_megabytes_of_white_space_behind_bare_base64_are_refused_and_not_gone_through_again(
    library: TestClient,
) -> None:
    document = {"image": "A" * 64 + " " * 2_000_000 + "!"}  # with backtracking: 10¹² steps
    answer = library.post("/v1/rerank", json={"query": "red", "documents": [document]})
    assert answer.status_code == 422
    assert "not fetched" in answer.text


def test_percent_signs_mean_what_they_mean_in_addresses() -> None:
    chance = random.Random(7)
    for _ in range(2_000):
        data = bytes(chance.choices(b"%%%4aFg1", k=chance.randrange(12)))
        assert without_percents(data) == unquote_to_bytes(data), data


@pytest.mark.parametrize("escapes", ["%", "%41"])
def test_a_million_percent_signs_take_memory_as_their_text_does(escapes: str) -> None:
    uri = "data:image/png," + escapes * 1_000_000
    tracemalloc.start()
    try:
        data_of(uri, "/image")
        assert tracemalloc.get_traced_memory()[1] < 30 * len(uri)
    finally:
        tracemalloc.stop()
