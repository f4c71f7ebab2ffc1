"""Reranking in the common shape: pictures only, scored by ITM, nothing fetched from anywhere."""

from __future__ import annotations

import base64
from math import exp
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.installation import MakeClient, png, problem


def uri(*quarters: str) -> str:
    """A picture as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png(*quarters)).decode()}"


def rerank(client: TestClient, documents: Any, query: str = "red blue", **more: Any) -> Any:
    """The JSON of a rerank that succeeds."""
    answer = client.post("/v1/rerank", json={"query": query, "documents": documents} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_shape_of_a_document_scores_the_same(library: TestClient) -> None:
    part = {"type": "image_url", "image_url": {"url": uri("red", "blue")}}
    documents = [
        {"image": uri("red", "blue")},
        {"content": [part]},
        {"id": "half", "collection": "pictures"},
        {"image": uri("green")},
    ]
    answer = rerank(library, documents)
    assert [result["index"] for result in answer["results"]] == [0, 1, 2, 3]
    assert not any("document" in result for result in answer["results"]), "a null breaks some clients"
    # a = 1, w = 1/3 for the halves; green agrees with either colour on one channel of three: a = 1/3
    good, bad = 1 / (1 + exp(2 / 3 - 4)), 1 / (1 + exp(2 / 3 - (8 / 3 - 4)))
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == pytest.approx([good, good, good, bad], abs=1e-6)
    assert answer["model"] == "toy"
    assert answer["id"]


def test_results_are_ordered_by_relevance_and_cut_at_top_n(library: TestClient) -> None:
    documents = [{"image": uri(name)} for name in ("green", "blue", "white", "red")]
    answer = rerank(library, documents, query="red")
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["results"][0]["index"] == 3
    assert rerank(library, documents, query="red", top_n=2)["results"] == answer["results"][:2]


def test_vllm_content_lists_are_one_document_for_each_part(library: TestClient) -> None:
    parts = [{"type": "image_url", "image_url": {"url": uri(name)}} for name in ("blue", "red")]
    answer = rerank(library, {"content": parts}, query="red")
    assert [result["index"] for result in answer["results"]] == [1, 0]


def test_stored_documents_come_back_when_asked_for(library: TestClient) -> None:
    stored = {"id": "red", "collection": "pictures"}
    given = {"image": uri("red")}
    answer = rerank(library, [stored, given], return_documents=True, model="toy")
    assert [result["document"] for result in answer["results"]] == [stored, given]
    assert answer["meta"]["warnings"] == []


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("https://example.org/a.png", "scored as words"),
        ("data:image/png;base64,AAAA", "no usable picture"),
        ("a red car", "Documents are pictures"),
        ({"text": "a red car"}, "Documents are pictures"),
        ({"image": "https://example.org/a.png"}, "not fetched"),
        ({"image": "file:///etc/passwd"}, "not fetched"),
        ({"image": "/etc/passwd"}, "not fetched"),
        ({"content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]}, "not fetched"),
        ({"content": [{"type": "text", "text": "words"}]}, "image_url"),
        ({"image": "data:image/png;base64,%%%"}, "base64"),
        ({"image": "data:image/png;base64"}, "no comma"),
        ({"image": "data:text/html,<p>"}, "no usable picture"),
        ({"image": "data:,"}, "no usable picture"),
        ({"image": uri("red"), "id": "red"}, "no such field"),
        ({"id": "red"}, "required"),
        (None, "Documents are pictures"),
        (7, "Documents are pictures"),
    ],
)
def test_what_is_no_picture_is_refused_loudly(library: TestClient, document: Any, says: str) -> None:
    documents = [{"image": uri("red")}, document]
    body = problem(library.post("/v1/rerank", json={"query": "red", "documents": documents}), 422)
    assert says in body["detail"]
    assert body["errors"][0]["pointer"].startswith("#/documents/1")
    assert "tag:" not in body["errors"][0]["pointer"]


@pytest.mark.parametrize("data", ["data:image/png;base64,!", "data:image/png", "data:,nothing"])
def test_a_document_that_is_no_picture_is_named_by_where_it_stands(library: TestClient, data: str) -> None:
    part = {"content": [{"type": "image_url", "image_url": {"url": data}}]}
    for document, pointer in (
        (data, "#/documents/1"),
        ({"image": data}, "#/documents/1/image"),
        (part, "#/documents/1/content/0/image_url/url"),
    ):
        documents = [{"image": uri("red")}, document]
        body = problem(library.post("/v1/rerank", json={"query": "red", "documents": documents}), 422)
        assert body["errors"][0]["pointer"] == pointer


def test_what_is_not_stored_is_404(library: TestClient) -> None:
    for document in ({"id": "nobody", "collection": "pictures"}, {"id": "red", "collection": "nothing"}):
        problem(library.post("/v1/rerank", json={"query": "red", "documents": [document]}), 404)


@pytest.mark.parametrize("path", ["/v1/rerank", "/score"])
def test_models_of_this_kind_that_are_not_served_are_refused(library: TestClient, path: str) -> None:
    picture = {"image": uri("red")}
    for name in ("Salesforce/blip2-itm-vit-g", "sightline-large"):
        body = {"query" if path == "/v1/rerank" else "queries": "red", "documents": [picture], "model": name}
        assert name in problem(library.post(path, json=body), 422)["detail"]


def test_pictures_are_limited_in_number_and_in_pixels(make_client: MakeClient) -> None:
    client = make_client(max_documents=2, max_document_pixels=100)
    two, three = [{"image": uri("red")}] * 2, [{"id": "a", "collection": "b"}] * 3
    assert (
        "pixels" in problem(client.post("/v1/rerank", json={"query": "a", "documents": two}), 413)["detail"]
    )
    problem(client.post("/v1/rerank", json={"query": "a", "documents": three}), 413)
    assert len(rerank(client, two[:1])["results"]) == 1


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_every_address_answers_the_same(library: TestClient, path: str) -> None:
    body = {"query": "red", "documents": [{"image": uri("red")}, {"image": uri("blue")}]}
    told = library.post(path, json=body, headers={"X-Request-ID": "mine"}).json()
    assert told == library.post("/v1/rerank", json=body, headers={"X-Request-ID": "mine"}).json()
    assert [one["index"] for one in told["results"]] == [0, 1]


@pytest.mark.parametrize("top_n", [None, 0, 3, 9])
def test_top_n_absent_null_or_nought_is_all(library: TestClient, top_n: int | None) -> None:
    documents = [{"image": uri(name)} for name in ("green", "blue", "red")]
    answer = rerank(library, documents, query="red", top_n=top_n)
    assert answer["results"] == rerank(library, documents, query="red")["results"]
    assert len(answer["results"]) == 3


UNUSED = {
    "max_tokens_per_doc": 4096, "max_chunks_per_doc": 10, "max_tokens_per_query": 512,
    "truncate_prompt_tokens": -1, "truncation_side": "left", "truncation": True, "padding": "do_not_pad",
    "rank_fields": ["text"], "relevant_spans": {"max_spans": 1}, "instruction": "find cars", "priority": 7,
    "user": "somebody", "request_id": "mine", "cache_salt": "salt", "mm_processor_kwargs": {"a": 1},
    "task_settings": {"top_n": 1},
}  # fmt: skip


def test_what_others_send_is_accepted_and_told_and_changes_nothing(library: TestClient) -> None:
    documents = [{"image": uri("green")}, {"image": uri("red")}]
    plain = rerank(library, documents, query="red")
    assert plain["meta"] == {"warnings": []}
    for more in ({"encoding_format": "float", "use_activation": True}, dict.fromkeys(UNUSED), {"user": None}):
        assert rerank(library, documents, query="red", **more) | {"id": ""} == plain | {"id": ""}
    answer = rerank(library, documents, query="red", **UNUSED)
    assert answer["results"] == plain["results"]
    told = [warning.partition(" was not used: ")[0] for warning in answer["meta"]["warnings"]]
    assert sorted(told) == sorted(UNUSED)
    assert all(warning.endswith(".") for warning in answer["meta"]["warnings"])


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/score"])
def test_unknown_fields_are_errors_still(library: TestClient, path: str) -> None:
    query = "queries" if path == "/score" else "query"
    for more in ({"topn": 1}, {"Model": "toy"}):
        body = {query: "red", "documents": [{"image": uri("red")}]} | more
        assert "no such field" in problem(library.post(path, json=body), 422)["detail"]
    body = {query: "red", "documents": [{"image": uri("red"), "title": "car"}]}
    assert "no such field" in problem(library.post(path, json=body), 422)["detail"]


def test_the_name_of_anothers_model_stands_for_the_default_and_that_is_told(library: TestClient) -> None:
    stored = {"id": "red", "collection": "pictures"}
    for documents in ([{"image": uri("red")}], [stored], [stored, {"image": uri("red")}]):
        for name in ("rerank-v3.5", "jina-reranker-m0", "BAAI/bge-reranker-v2-m3"):
            answer = rerank(library, documents, query="red", model=name)
            assert answer["model"] == "toy"
            assert answer["meta"]["warnings"] == [f"There is no model {name} here: toy scored."]
    assert rerank(library, [stored], query="red", model="toy")["meta"]["warnings"] == []


def test_a_query_is_text_however_it_is_written(library: TestClient) -> None:
    documents = [{"image": uri("green")}, {"image": uri("red")}]
    expected = rerank(library, documents, query="red")["results"]
    for query in (
        {"text": "red"}, {"type": "text", "text": "red"}, {"type": "text", "format": "text", "value": "red"},
        {"content": [{"type": "text", "text": "red"}]},
    ):  # fmt: skip
        answer = library.post("/v1/rerank", json={"query": query, "documents": documents})
        assert answer.json()["results"] == expected
    for picture in (uri("red"), {"image": uri("red")}, {"type": "image", "value": uri("red")}):
        body = {"query": picture, "documents": documents}
        assert (
            "The query of a rerank is text" in problem(library.post("/v1/rerank", json=body), 422)["detail"]
        )


def test_long_documents_are_not_repeated_and_that_is_told(library: TestClient) -> None:
    part = {"type": "image_url", "image_url": {"url": uri("red")}}
    padded = uri("red") + "\n" * 9_000  # as long as a photo's
    documents = [{"image": padded + "="}, {"content": [part]}, part, uri("red"), {"text": uri("red")}]
    documents.append({"type": "image", "value": uri("red")})
    answer = rerank(library, documents, query="red", return_documents=True)
    said = {one["index"]: one.get("document") for one in answer["results"]}
    assert said == {
        0: None, 1: {"multi_modal": [part]}, 2: {"multi_modal": [part]}, 3: {"text": uri("red")},
        4: {"text": uri("red")}, 5: {"type": "image", "format": "base64", "value": uri("red")},
    }  # fmt: skip
    assert answer["meta"]["warnings"] == [
        "Documents of more than 8,192 characters are not repeated; their index says which they are."
    ]
