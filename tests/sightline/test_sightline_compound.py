"""A compound query of the whole house, against probabilities computed here from the toy's formulas."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.blip.toy import ToyEncoder
from sightline.errors import InputError
from sightline.queries import MAX_CLAUSES, Clause, Query
from sightline.records import InstructedMatcher, SearchHit, SearchRequest, SearchResponse
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import Run, index, save, toy_settings

WORDS = ("red", "green", "blue", "yellow", "purple")
RED, BLUE, GREEN, LEFT = (Clause(text) for text in ("red", "blue", "green", "yellow left"))
QUERIES = (
    Query(all=(RED,)),
    Query(all=(RED,), none=(BLUE,)),
    Query(all=(RED, BLUE)),
    Query(all=(RED,), none=(BLUE, LEFT)),
    Query(any=(RED, BLUE)),
    Query(all=(GREEN,), any=(Clause("red", 0.5), Clause("blue", 0.25)), none=(Clause("yellow left", 0.7),)),
    Query(all=(Clause("red", 0.4), BLUE), none=(Clause("green", 0.1),)),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def filled(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Twenty-five pictures of two colours, of which the first thirteen are folded."""
    with open_installation(toy_settings(tmp_path_factory.mktemp("data")), inline=True) as services:
        for number, pair in enumerate(itertools.product(WORDS, repeat=2)):
            if number == 13:
                index(services, pictures)
                services.builder.fold("pictures")
            save(pictures, f"{number:02d}-{'-'.join(pair)}", *pair)
        index(services, pictures)
        yield services


class Oracle:
    """ITC and match probabilities of all pictures, at the stored precision (fp16)."""

    def __init__(self, folder: Path) -> None:
        self.toy = ToyEncoder()
        self.names = [path.name for path in sorted(folder.glob("*.png"))]
        images = [np.asarray(Image.open(folder / name)) for name in self.names]
        self.patches = self.toy.encode_patches(self.toy.preprocess(images)).half().float()
        self.tokens = self.toy.encode_image(self.patches).half().double()

    def probability(self, text: str) -> dict[str, float]:
        both = self.toy.match([text], self.patches).double()
        return dict(zip(self.names, torch.softmax(both, dim=1)[:, 1].tolist(), strict=True))

    def itc(self, text: str) -> dict[str, float]:
        cosines = (self.tokens @ self.toy.encode_text([text])[0].double()).amax(dim=1)
        return dict(zip(self.names, cosines.tolist(), strict=True))

    def compound(self, query: Query) -> dict[str, float]:
        """The match probability of each picture by the definition, factor by factor."""
        found = dict.fromkeys(self.names, 1.0)
        most = max((one.weight for one in query.any), default=0.0)
        for name in self.names:
            missed = 1.0
            for one in query.all:
                found[name] *= 1 - one.weight * (1 - self.probability(one.text)[name])
            for one in query.none:
                found[name] *= 1 - one.weight * self.probability(one.text)[name]
            for one in query.any:
                missed *= 1 - one.weight / most * self.probability(one.text)[name]
            found[name] *= 1 - most * missed if query.any else 1
        return found

    def compound_itc(self, query: Query) -> dict[str, float]:
        most = max((one.weight for one in query.any), default=0.0)
        found = {}
        for name in self.names:
            total = sum(one.weight * self.itc(one.text)[name] for one in query.all)
            total += most * max((self.itc(one.text)[name] for one in query.any), default=0.0)
            found[name] = total / (sum(one.weight for one in query.all) + most)
        return found


@pytest.fixture(scope="module")
def oracle(filled: Installation, pictures: Path) -> Oracle:
    return Oracle(pictures)


def find(services: Installation, query: Query, **more: object) -> SearchResponse:
    return services.search.find(SearchRequest("pictures", query=query, **{"limit": 25, **more}))  # type: ignore[arg-type]


def ids(hits: Sequence[SearchHit]) -> list[str]:
    return [hit.id for hit in hits]


@pytest.mark.parametrize("query", QUERIES)
def test_the_order_is_that_of_the_probability_that_the_clauses_make(
    filled: Installation, oracle: Oracle, query: Query
) -> None:
    truth, itc = oracle.compound(query), oracle.compound_itc(query)
    response = find(filled, query)
    assert (response.scored, response.effort, response.truncated) == (25, "full", False)
    seen = [hit.match_probability for hit in response.results]
    assert seen == pytest.approx(sorted(truth.values(), reverse=True), abs=1e-6)
    for hit in response.results:
        assert hit.match_probability is not None
        assert hit.match_probability == pytest.approx(truth[hit.id], abs=1e-6)
        assert hit.score == pytest.approx(math.log(truth[hit.id] / (1 - truth[hit.id])), abs=1e-5)
        assert hit.itc == pytest.approx(itc[hit.id], abs=1e-5)
        assert [(one.role, one.text) for one in hit.clauses] == [
            (role, clause.text) for role, clause in query.clauses
        ]
        for one in hit.clauses:
            assert one.match_probability == pytest.approx(oracle.probability(one.text)[hit.id], abs=1e-6)
    ties = [(-hit.score, hit.itc_rank) for hit in response.results]
    assert ties == sorted(ties)


@pytest.mark.parametrize("query", QUERIES)
def test_without_itm_the_order_is_the_compound_itc_score(
    filled: Installation, oracle: Oracle, query: Query
) -> None:
    truth = oracle.compound_itc(query)
    for more in ({"rerank": False}, {"score": "itc"}):
        found = find(filled, query, **more).results
        assert [hit.score for hit in found] == pytest.approx(sorted(truth.values(), reverse=True), abs=1e-5)
        assert [hit.itc_rank for hit in found] == list(range(1, 26))
        assert {(hit.itm_logit, hit.match_probability, hit.clauses) for hit in found} == {(None, None, ())}


def test_what_must_not_be_shown_is_not_among_the_best(filled: Installation) -> None:
    best = ids(find(filled, Query(all=(RED,), none=(BLUE,)), limit=5).results)
    assert all("red" in name and "blue" not in name for name in best)
    alone = ids(filled.search.find(SearchRequest("pictures", "red", limit=25)).results)
    reds = {name for name in alone if "red" in name}
    assert any("blue" in name for name in reds), "without the clause they would be"


def test_a_little_weight_changes_little_and_all_of_it_decides(filled: Installation) -> None:
    plain = find(filled, Query(all=(RED,))).results
    nearly = find(filled, Query(all=(RED,), none=(Clause("blue", 1e-9),))).results
    assert [hit.match_probability for hit in nearly] == pytest.approx(
        [hit.match_probability for hit in plain], abs=1e-6
    )


def test_the_least_probability_the_offset_and_a_filter_hold_for_the_whole_query(
    filled: Installation, oracle: Oracle
) -> None:
    query = Query(all=(RED,), none=(BLUE,))
    truth = oracle.compound(query)
    whole = find(filled, query, min_probability=0.5).results
    assert set(ids(whole)) == {name for name, p in truth.items() if p >= 0.5}
    assert 1 < len(whole) < 25
    assert ids(find(filled, query, min_probability=0.5, offset=1).results) == ids(whole)[1:]
    purple = find(filled, query, filter={"must": [{"field": "id", "contains": "purple"}]})
    assert set(ids(purple.results)) == {name for name in truth if "purple" in name}


@pytest.mark.parametrize("query", QUERIES)
def test_pages_put_together_are_the_whole_order(filled: Installation, query: Query) -> None:
    whole = find(filled, query, candidates=6).results
    pages = [find(filled, query, candidates=6, limit=4, offset=start).results for start in range(0, 25, 4)]
    together = [hit for page in pages for hit in page]
    assert [(hit.id, hit.rank) for hit in together] == [(hit.id, hit.rank) for hit in whole]
    assert [hit.itm_logit is not None for hit in whole] == [True] * 6 + [False] * 19
    assert {hit.itc_rank for hit in whole[:6]} == set(range(1, 7))


def test_a_search_that_is_out_of_time_keeps_the_order_of_itc(filled: Installation) -> None:
    query = Query(all=(RED, BLUE), none=(GREEN,))
    late = find(filled, query, deadline_ms=1e-6)
    assert late.scored == 0
    assert late.results == find(filled, query, rerank=False).results
    assert find(filled, query, deadline_ms=float("inf")).results == find(filled, query).results
    assert find(filled, query, precision="exact").results == find(filled, query).results


class Notes:
    """Keeps what a search tells before its end."""

    def __init__(self) -> None:
        self.first: SearchResponse | None = None
        self.orders: list[tuple[list[SearchHit], int]] = []

    def candidates(self, response: SearchResponse) -> None:
        self.first = response

    def is_due(self) -> bool:
        return True

    def order(self, hits: Sequence[SearchHit], scored: int, of: int) -> None:
        self.orders.append((list(hits), scored))


def test_whoever_watches_is_told_itcs_answer_and_then_orders_with_clauses(filled: Installation) -> None:
    query, notes = Query(all=(RED,), none=(BLUE,)), Notes()
    answer = filled.search.find(SearchRequest("pictures", query=query, limit=25), notes)
    assert notes.first is not None
    assert notes.first.results == find(filled, query, rerank=False).results
    assert [scored for _, scored in notes.orders] == [16, 25]
    assert tuple(notes.orders[-1][0]) == answer.results
    assert [len(hit.clauses) for hit in notes.orders[0][0]] == [2] * 16 + [0] * 9


def test_words_of_each_positive_clause_bring_candidates(services: Installation, tmp_path: Path) -> None:
    for number, colour in enumerate(("red", "blue", "green", "white", "black", "yellow")):
        save(tmp_path / "in", f"{number}-{colour}", colour)
    index(services, tmp_path / "in")
    for name, caption in (
        ("3-white.png", "Jaspersen's kite"),
        ("2-green.png", "Zoë"),
        ("5-yellow.png", "Bo"),
    ):
        services.catalog.update_image("pictures", name, caption=caption, metadata={})
    query = Query(all=(Clause("red Jaspersen"),), any=(Clause("red Zoe"),), none=(Clause("Bo"),))
    found = find(services, query, candidates=4, limit=4).results
    by_words = {hit.id: hit for hit in found if hit.found_by != "picture"}
    assert set(by_words) == {"3-white.png", "2-green.png"}
    exact = {hit.id: hit.itc for hit in find(services, query, rerank=False).results}
    assert all(hit.itc == pytest.approx(exact[name], abs=1e-9) for name, hit in by_words.items())


def test_any_clause_that_is_too_long_is_told(filled: Installation) -> None:
    long = Clause("red " * 17)
    assert find(filled, Query(all=(RED,), none=(long,))).truncated
    assert find(filled, Query(all=(long,))).truncated


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query(), "is empty"),
        (Query(none=(RED,)), "only what the pictures should not show"),
        (Query(all=(Clause(" "),)), "A clause of all is empty"),
        (Query(all=(RED,), none=(Clause(""),)), "A clause of none is empty"),
        (Query(all=(Clause("x" * 2001),)), "at most 2,000 characters"),
        (Query(all=(RED,) * (MAX_CLAUSES + 1)), f"at most {MAX_CLAUSES} clauses"),
        *((Query(all=(Clause("red", weight),)), "weight") for weight in (0, -1, 1.5, math.inf, math.nan)),
    ],
)
def test_a_query_that_finds_nothing_is_refused_in_a_sentence(
    filled: Installation, query: Query, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        find(filled, query)


def test_a_query_takes_the_place_of_the_text_and_has_no_matcher(filled: Installation) -> None:
    query = Query(all=(RED,))
    with pytest.raises(InputError, match="not both"):
        filled.search.find(SearchRequest("pictures", "red", query=query))
    with pytest.raises(InputError, match="matcher"):
        filled.search.find(SearchRequest("pictures", query=query, matcher=InstructedMatcher("Is it red?")))


def test_the_command_line_reads_signs_unless_told_not_to(filled: Installation, sightline: Run) -> None:
    def hits(*more: str) -> list[dict[str, object]]:
        data = str(filled.settings.data_folder)
        told = sightline("search", *more, "-c", "pictures", "--data", data, "--json", "-k", "25")
        assert told.code == 0, told.stderr
        return list(told.answer["results"])

    wanted = find(filled, Query(all=(RED,), none=(Clause("blue"),))).results
    assert [hit["id"] for hit in hits("red -blue")] == ids(wanted)
    literal = filled.search.find(SearchRequest("pictures", "red -blue", limit=25)).results
    assert [(hit["id"], hit["score"]) for hit in hits("red -blue", "--literal")] == [
        (hit.id, hit.score) for hit in literal
    ]
    plain = filled.search.find(SearchRequest("pictures", "red left", limit=25)).results
    assert [(hit["id"], hit["score"]) for hit in hits("red left")] == [(hit.id, hit.score) for hit in plain]
    data = str(filled.settings.data_folder)
    refused = sightline("search", "-c", "pictures", "--data", data, "--", "-blue")
    assert refused.code != 0
    assert "only what the pictures should not show" in refused.stderr.replace("\n", " ")
