"""A search of the whole house, against ITC and ITM computed here from the pictures and the toy's formulas."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.blip.toy import ToyEncoder
from sightline.errors import FilterError, InputError, NotFoundError
from sightline.records import SearchHit, SearchRequest, SearchResponse
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, save, toy_settings

WORDS = ("red", "green", "blue", "yellow", "purple")
TEXTS = ("red left", "red blue", "green top left purple", "a yellow thing", "blue bottom right")


def fill(services: Installation, folder: Path) -> None:
    """Twenty-five pictures: every ordered pair of colours, alternating in the quarters."""
    for number, pair in enumerate(itertools.product(WORDS, repeat=2)):
        save(folder, f"{number:02d}-{'-'.join(pair)}", *pair)
    index(services, folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def filled(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with the pictures, which no test may change."""
    with open_installation(toy_settings(tmp_path_factory.mktemp("data")), inline=True) as services:
        fill(services, pictures)
        yield services


def oracle(folder: Path, text: str) -> dict[str, tuple[float, float, float]]:
    """(ITC, match logit, match probability) of each picture, at the stored precision (fp16)."""
    toy = ToyEncoder()
    paths = sorted(folder.glob("*.png"))
    patches = (
        toy.encode_patches(toy.preprocess([np.asarray(Image.open(path)) for path in paths])).half().float()
    )
    tokens = toy.encode_image(patches).half().double()
    itc = (tokens @ toy.encode_text([text])[0].double()).max(dim=1).values
    logits = toy.match([text], patches).double()
    probabilities = torch.softmax(logits, dim=1)[:, 1]
    return {
        path.name: (float(itc[i]), float(logits[i, 1]), float(probabilities[i]))
        for i, path in enumerate(paths)
    }


@pytest.mark.parametrize("text", TEXTS)
def test_without_reranking_the_order_is_itc_alone(filled: Installation, pictures: Path, text: str) -> None:
    truth = oracle(pictures, text)
    found = filled.search.find(SearchRequest("pictures", text, limit=25, rerank=False)).results
    assert [hit.itc for hit in found] == pytest.approx(
        sorted((t[0] for t in truth.values()), reverse=True), abs=1e-5
    )
    assert [hit.rank for hit in found] == [hit.itc_rank for hit in found] == list(range(1, 26))
    for hit in found:
        assert hit.itc == pytest.approx(truth[hit.id][0], abs=1e-5)
        assert hit.itm_logit is None
        assert hit.match_probability is None


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("score", ["itm+itc", "itm"])
def test_reranking_orders_by_the_score_that_was_named(
    filled: Installation, pictures: Path, text: str, score: str
) -> None:
    truth = oracle(pictures, text)
    found = filled.search.find(SearchRequest("pictures", text, limit=25, score=score)).results  # type: ignore[arg-type]
    wanted = {name: logit + (itc if score == "itm+itc" else 0) for name, (itc, logit, _) in truth.items()}
    assert [hit.score for hit in found] == pytest.approx(sorted(wanted.values(), reverse=True), abs=1e-4)
    for hit in found:
        assert hit.score == pytest.approx(wanted[hit.id], abs=1e-4)
        assert hit.match_probability == pytest.approx(truth[hit.id][2], abs=1e-4)


def test_itm_finds_the_parts_where_itc_finds_the_mixture(filled: Installation, pictures: Path) -> None:
    by_itc = filled.search.find(SearchRequest("pictures", "red blue", limit=1, rerank=False)).results[0]
    after_itm = filled.search.find(SearchRequest("pictures", "red blue", limit=1)).results[0]
    assert "purple" in by_itc.id
    assert {"red", "blue"} == set(after_itm.id[3:-4].split("-"))


def test_beyond_the_candidates_follow_the_rest_in_itc_order(filled: Installation, pictures: Path) -> None:
    response = filled.search.find(SearchRequest("pictures", "red blue", limit=25, candidates=4))
    judged, rest = response.results[:4], response.results[4:]
    assert response.scored == 4
    assert {hit.itc_rank for hit in judged} == {1, 2, 3, 4}
    assert all(hit.itm_logit is not None for hit in judged)
    assert [hit.itc_rank for hit in rest] == list(range(5, 26))
    assert all(hit.itm_logit is None and hit.score == hit.itc for hit in rest)


def test_pages_put_together_are_the_whole_order(filled: Installation, pictures: Path) -> None:
    whole = filled.search.find(SearchRequest("pictures", "green left", limit=25, candidates=10)).results
    pages = [
        filled.search.find(
            SearchRequest("pictures", "green left", limit=4, offset=start, candidates=10)
        ).results
        for start in range(0, 25, 4)
    ]
    together = [hit for page in pages for hit in page]
    assert [(hit.id, hit.rank) for hit in together] == [(hit.id, hit.rank) for hit in whole]


def test_a_search_that_is_out_of_time_answers_in_itc_order_and_says_that_nothing_was_scored(
    filled: Installation,
) -> None:
    late = filled.search.find(SearchRequest("pictures", "red left", limit=25, deadline_ms=1e-6))
    plain = filled.search.find(SearchRequest("pictures", "red left", limit=25, rerank=False))
    assert late.scored == 0
    assert late.results == plain.results
    enough = filled.search.find(SearchRequest("pictures", "red left", limit=25, deadline_ms=float("inf")))
    assert enough.scored == 25
    assert enough.results == filled.search.find(SearchRequest("pictures", "red left", limit=25)).results


class Notes:
    """A watch that wants every order."""

    def __init__(self) -> None:
        self.first: SearchResponse | None = None
        self.orders: list[tuple[Sequence[SearchHit], int, int]] = []

    def candidates(self, response: SearchResponse) -> None:
        assert not self.orders
        self.first = response

    def is_due(self) -> bool:
        return True

    def order(self, hits: Sequence[SearchHit], scored: int, of: int) -> None:
        self.orders.append((hits, scored, of))


@pytest.mark.parametrize("least", [None, 0.9])
def test_a_watch_sees_itcs_answer_and_after_each_batch_the_order_that_the_scores_so_far_make(
    filled: Installation, pictures: Path, least: float | None
) -> None:
    notes, truth = Notes(), oracle(pictures, "red left")
    ask = SearchRequest("pictures", "red left", limit=7, offset=2, min_probability=least)
    answer = filled.search.find(ask, notes)
    assert answer.results == filled.search.find(ask).results
    plain = filled.search.find(SearchRequest("pictures", "red left", limit=25, rerank=False)).results
    assert notes.first is not None
    assert notes.first.results == plain[2:9]
    assert [(scored, of) for _, scored, of in notes.orders] == [(16, 25), (25, 25)]
    scored = sorted((hit.id for hit in plain[:16]), key=lambda name: -truth[name][1] - truth[name][0])
    likely = [name for name in scored if least is None or truth[name][2] >= least]
    rest = [hit.id for hit in plain[16:]] if least is None else []
    assert [hit.id for hit in notes.orders[0][0]] == [*likely, *rest][2:9]
    assert [hit.rank for hit in notes.orders[0][0]] == list(range(3, 3 + len(notes.orders[0][0])))
    assert tuple(notes.orders[-1][0]) == answer.results


def test_exact_precision_of_an_exact_model_changes_nothing(filled: Installation) -> None:
    exact = filled.search.find(SearchRequest("pictures", "red blue", limit=5, precision="exact"))
    assert exact.results == filled.search.find(SearchRequest("pictures", "red blue", limit=5)).results


def test_the_least_probability_applies_before_the_offset(filled: Installation, pictures: Path) -> None:
    truth = oracle(pictures, "red left")
    ask = SearchRequest("pictures", "red left", limit=25, min_probability=0.9)
    found = filled.search.find(ask).results
    assert {hit.id for hit in found} == {name for name, (_, _, p) in truth.items() if p >= 0.9}
    assert 2 < len(found) < 25
    second = filled.search.find(
        SearchRequest("pictures", "red left", limit=25, offset=2, min_probability=0.9)
    ).results
    assert [(hit.id, hit.rank) for hit in second] == [(hit.id, hit.rank) for hit in found[2:]]


def test_a_filter_leaves_exact_hits_of_what_it_admits(filled: Installation, pictures: Path) -> None:
    condition = {"must": [{"field": "id", "contains": "red"}]}
    found = filled.search.find(SearchRequest("pictures", "blue", limit=25, rerank=False, filter=condition))
    truth = {name: t for name, t in oracle(pictures, "blue").items() if "red" in name}
    assert {hit.id for hit in found.results} == set(truth)
    assert found.images == len(truth)


def test_a_deleted_picture_is_gone_from_the_next_search(services: Installation, tmp_path: Path) -> None:
    fill(services, tmp_path / "pictures")
    first = services.search.find(SearchRequest("pictures", "red", limit=1)).results[0]
    collection = services.catalog.collection("pictures")
    services.catalog.delete_images(collection.id, ids=[first.id])
    after = services.search.find(SearchRequest("pictures", "red", limit=25))
    assert first.id not in {hit.id for hit in after.results}
    assert after.images == 24


def test_folding_changes_no_score(services: Installation, tmp_path: Path) -> None:
    fill(services, tmp_path / "pictures")
    before = services.search.find(SearchRequest("pictures", "yellow top", limit=25))
    assert before.generation == 0
    assert services.builder.fold("pictures")
    after = services.search.find(SearchRequest("pictures", "yellow top", limit=25))
    assert after.generation == 1
    assert [(hit.id, hit.score) for hit in after.results] == [(hit.id, hit.score) for hit in before.results]


def test_a_text_beyond_the_limit_is_cut_and_said_so(filled: Installation, pictures: Path) -> None:
    long = "red " * 17
    cut = filled.search.find(SearchRequest("pictures", long, limit=5))
    assert cut.truncated
    assert not filled.search.find(SearchRequest("pictures", "red " * 16, limit=5)).truncated


@pytest.mark.parametrize(
    "wrong",
    [
        SearchRequest("pictures", "  "),
        SearchRequest("pictures", "red", limit=0),
        SearchRequest("pictures", "red", offset=-1),
        SearchRequest("pictures", "red", candidates=10_001),
        SearchRequest("pictures", "red", limit=100, offset=9_950),
        SearchRequest("pictures", "red", rerank=False, min_probability=0.5),
        SearchRequest("pictures", "red", score="itc", min_probability=0.5),
        SearchRequest("pictures", "red", min_probability=1.5),
        SearchRequest("pictures", "red", deadline_ms=0),
        SearchRequest("pictures", "red", deadline_ms=float("nan")),
        SearchRequest("pictures", "red", precision="double"),  # type: ignore[arg-type]
        SearchRequest("pictures", "red", effort="some"),  # type: ignore[arg-type]
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(services: Installation, wrong: SearchRequest) -> None:
    services.collections.create("pictures")
    with pytest.raises(InputError):
        services.search.find(wrong)


def test_unknown_names_are_told_apart(services: Installation) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        services.search.find(SearchRequest("nowhere", "red"))
    services.collections.create("pictures")
    with pytest.raises(FilterError):
        services.search.find(SearchRequest("pictures", "red", filter={"must": [{"field": "x", "near": 1}]}))


def test_an_empty_collection_answers_with_nothing(services: Installation) -> None:
    services.collections.create("pictures")
    response = services.search.find(SearchRequest("pictures", "red"))
    assert response.results == ()
    assert (response.images, response.generation, response.scored) == (0, 0, 0)
