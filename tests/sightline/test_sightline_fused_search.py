"""Words of captions bring candidates beside ITC, and ITM decides; without texts nothing is otherwise."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from sightline.records import SearchHit, SearchRequest
from sightline.retriever.records import Candidate, Retrieved
from sightline.searching.fusion import K, fuse
from sightline.store.text_records import TextHit
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import Run, index, save, toy_settings

WORDS = ("red", "green", "blue", "yellow", "purple")
HIDDEN = "12-blue-blue.png"
"""No text about red and green finds this one by its picture."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Twenty-five pictures of two colours; half of them folded, one caption with a name in each half."""
    folder = tmp_path_factory.mktemp("pictures")
    with open_installation(toy_settings(tmp_path_factory.mktemp("data")), inline=True) as services:
        for number, pair in enumerate(itertools.product(WORDS, repeat=2)):
            if number == 13:
                index(services, folder)
                services.builder.fold("pictures")
            save(folder, f"{number:02d}-{'-'.join(pair)}", *pair)
        index(services, folder)
        for name, caption in ((HIDDEN, "Jaspersen's red kite"), ("18-yellow-yellow.png", "Zoë sees red")):
            services.catalog.update_image("pictures", name, caption=caption, metadata={"named": True})
        yield services


def find(services: Installation, text: str, **more: object) -> dict[str, SearchHit]:
    request = SearchRequest("pictures", text, **{"limit": 25, **more})  # type: ignore[arg-type]
    return {hit.id: hit for hit in services.search.find(request).results}


@pytest.mark.parametrize(("text", "name"), [("red Jaspersen", HIDDEN), ("red ZOE", "18-yellow-yellow.png")])
def test_a_name_in_a_caption_brings_a_picture_that_itc_did_not(
    filled: Installation, text: str, name: str
) -> None:
    request = SearchRequest("pictures", text, limit=5, candidates=5)
    alone = filled.search.find(SearchRequest("pictures", text, limit=25, texts=False)).results
    exact = {hit.id: hit for hit in alone}
    found = {hit.id: hit for hit in filled.search.find(request).results}
    hit = found[name]
    assert (hit.found_by, hit.itc_rank) == ("text", None)
    assert hit.matched_text == filled.catalog.image("pictures", name).caption
    assert hit.itc == exact[name].itc, "its exact score, folded or not"
    assert (hit.itm_logit, hit.match_probability) == (exact[name].itm_logit, exact[name].match_probability)
    assert len(found) == 5
    ordered = sorted(found.values(), key=lambda one: one.rank)
    assert [one.score for one in ordered] == sorted((one.score for one in ordered), reverse=True)


def test_who_was_found_twice_is_told_and_the_others_are_of_the_picture(filled: Installation) -> None:
    hits = find(filled, "blue Jaspersen")
    assert hits[HIDDEN].found_by == "both"
    assert hits[HIDDEN].itc_rank is not None
    assert {hit.found_by for name, hit in hits.items() if name != HIDDEN} == {"picture"}
    assert {hit.matched_text for name, hit in hits.items() if name != HIDDEN} == {None}


def test_without_reranking_or_without_texts_it_is_itc_alone(filled: Installation) -> None:
    for more in ({"rerank": False}, {"texts": False}):
        hits = find(filled, "red Jaspersen", **more)
        assert {hit.found_by for hit in hits.values()} == {"picture"}
        assert sorted(hit.itc_rank or 0 for hit in hits.values()) == list(range(1, 26))


def test_filters_and_the_trash_hold_for_words_too(filled: Installation) -> None:
    unnamed = {"must_not": [{"field": "metadata.named", "equals": True}]}
    assert HIDDEN not in find(filled, "red Jaspersen", filter=unnamed)
    number = filled.catalog.collection("pictures").id
    filled.catalog.delete_images(number, ids=[HIDDEN])
    assert HIDDEN not in find(filled, "red Jaspersen", candidates=3)
    filled.catalog.restore_images(number, [HIDDEN])
    assert find(filled, "red Jaspersen", candidates=3, limit=3)[HIDDEN].found_by == "text"


def test_the_table_says_what_words_brought(filled: Installation, sightline: Run) -> None:
    data = str(filled.settings.data_folder)
    told = sightline(
        "search", "red Jaspersen", "-c", "pictures", "--data", data, "--candidates", "3", "--limit", "3"
    )
    assert told.code == 0, told.stderr
    assert "found by" in told.stdout
    assert "text" in told.stdout


def test_fusion_is_the_sum_of_reciprocal_ranks(filled: Installation) -> None:
    itc = [Candidate(key, 1.0 - key / 100, key) for key in range(1, 31)]
    others = [Candidate(99, 0.1, 1), Candidate(98, 0.05, 2)]
    texts = [TextHit(key, 1.0, f"of {key}", key) for key in (98, 20, 99, 77, 3)]
    fused = fuse(Retrieved(itc, 1, 40, (), others), texts, 10)
    ranks = {key: [key] for key in range(1, 11)}
    for rank, key in enumerate((98, 20, 99, 3), 1):  # 77 is not alive
        ranks.setdefault(key, []).append(rank)
    worth = {key: sum(1 / (K + rank) for rank in some) for key, some in ranks.items()}
    place = {**{key: key for key in range(1, 31)}, 99: 31, 98: 32}
    expected = sorted(worth, key=lambda key: (-worth[key], place[key]))[:10]
    assert [one.key for one in fused.head] == expected
    assert [one.key for one in fused.rest] == [key for key in range(1, 31) if key not in expected]
    assert {key: fused.found_by(key) for key in (98, 20, 3, 1)} == {
        98: "text",
        20: "both",
        3: "both",
        1: "picture",
    }
    assert fuse(Retrieved(itc, 1, 40), [], 10).head == itc[:10]
