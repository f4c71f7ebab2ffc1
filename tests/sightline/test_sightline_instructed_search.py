"""A search ordered by an instruction: log-odds of yes against no, named as what they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sightline.errors import InputError
from sightline.records import InstructedMatcher, SearchRequest
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, save, toy_settings

PICTURES = {
    "a": ("red", "blue", "red", "red"),
    "b": ("blue", "green", "white", "black"),
    "c": ("red", "red", "green", "green"),
    "d": ("yellow", "yellow", "yellow", "yellow"),
}
YES, NO = 3.2 - 0.1, 0.1 - 3.3
"""The toy's log-odds: −0.1 for the right answer, −3 − 0.1 a letter for the other."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("instructed")
    for name, quarters in PICTURES.items():
        save(folder / "pictures", name, *quarters)
    found = toy_settings(folder / "data")
    with open_installation(found, inline=True) as services:
        index(services, folder / "pictures")
    return found


@pytest.fixture
def services(settings: Settings) -> Iterator[Installation]:
    with open_installation(settings, inline=True) as services:
        yield services


@pytest.mark.parametrize(
    ("text", "matcher", "colour"),
    [
        ("yellow", InstructedMatcher("is there something green?"), "green"),
        ("green", InstructedMatcher(), "green"),
        ("blue", InstructedMatcher(model="toy"), "blue"),
    ],
)
def test_hits_are_ordered_by_the_log_odds_of_yes(
    services: Installation, text: str, matcher: InstructedMatcher, colour: str
) -> None:
    found = services.search.find(SearchRequest("pictures", text, matcher=matcher))
    shown = [hit.id.removesuffix(".png") for hit in found.results]
    with_it = sorted(name for name, quarters in PICTURES.items() if colour in quarters)
    assert shown == with_it + sorted(PICTURES.keys() - set(with_it)), "ties by key"
    for hit, name in zip(found.results, shown, strict=True):
        odds = YES if name in with_it else NO
        assert hit.score == pytest.approx(odds, abs=1e-5)
        assert hit.instruction_probability == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-6)
        assert (hit.match_probability, hit.itm_logit) == (None, None)
    assert found.scored == len(PICTURES)


def test_a_search_without_a_matcher_has_no_such_probability(services: Installation) -> None:
    found = services.search.find(SearchRequest("pictures", "green"))
    assert {hit.instruction_probability for hit in found.results} == {None}
    assert None not in {hit.match_probability for hit in found.results}


def test_bounds_and_deadlines_count_for_the_instruction(services: Installation) -> None:
    matcher = InstructedMatcher("is it blue?")
    likely = services.search.find(SearchRequest("pictures", "red", min_probability=0.5, matcher=matcher))
    assert [hit.id for hit in likely.results] == ["a.png", "b.png"]
    late = services.search.find(SearchRequest("pictures", "red", deadline_ms=1e-6, matcher=matcher))
    by_itc = services.search.find(SearchRequest("pictures", "red", rerank=False))
    assert late.scored == 0
    assert [hit.id for hit in late.results] == [hit.id for hit in by_itc.results]


def test_an_image_that_cannot_be_seen_keeps_its_itc_place(tmp_path: Path) -> None:
    settings = toy_settings(tmp_path / "data")
    without = settings.model_copy(update={"indexer": replace(settings.indexer, patch_codec="none")})
    with open_installation(without, inline=True) as services:
        originals = {name: save(tmp_path / "pictures", name, *PICTURES[name]) for name in "abc"}
        index(services, tmp_path / "pictures")
        originals["b"].unlink()
        matcher = InstructedMatcher("is it green?")
        found = services.search.find(SearchRequest("pictures", "red", matcher=matcher))
        assert [hit.id for hit in found.results][:2] == ["c.png", "a.png"]
        assert found.results[2].instruction_probability is None
        assert found.scored == 2


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (SearchRequest("pictures", "red", rerank=False, matcher=InstructedMatcher()), "rerank"),
        (SearchRequest("pictures", "red", score="itc", matcher=InstructedMatcher()), "other than itc"),
        (SearchRequest("pictures", "red", precision="exact", matcher=InstructedMatcher()), "one precision"),
        (SearchRequest("pictures", "red", matcher=InstructedMatcher(" ")), "instruction is empty"),
    ],
)
def test_what_contradicts_a_matcher_is_refused(
    services: Installation, request_: SearchRequest, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        services.search.find(request_)
