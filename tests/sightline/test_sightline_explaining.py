"""Explanations of searches and of stored images, with the toy, whose numbers can be worked out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import pytest

from sightline.blip.toy import ToyEncoder, ToyMatcher
from sightline.cli.explaining import lines_of
from sightline.errors import CheckpointError, InputError, NotFoundError, UnavailableError
from sightline.explanations import Heat
from sightline.records import InstructedMatcher, SearchRequest
from sightline.rerank_records import StoredImage
from sightline.searching.explaining import Reasons
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import Run, index, save, toy_settings

WHY = SearchRequest("pictures", "red blue bottom", explain=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def filled(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Six pictures, which no test may change."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, quarters in (
        ("parts", ("red", "green", "green", "blue")),
        ("mixed", ("purple",)),
        ("red", ("red",)),
        ("blue", ("blue", "white")),
        ("green", ("green",)),
        ("white", ("white",)),
    ):
        save(folder, name, *quarters)
    with open_installation(toy_settings(data), inline=True) as services:
        index(services, folder)
        yield services


def test_hits_are_explained_and_otherwise_the_same(filled: Installation) -> None:
    plain = filled.search.find(replace(WHY, explain=False)).results
    found = filled.search.find(WHY).results
    assert all(hit.explanation is None for hit in plain)
    assert [replace(hit, explanation=None) for hit in found] == list(plain)
    for hit in found:
        why = hit.explanation
        assert why is not None
        assert why.itc == pytest.approx(hit.itc, abs=1e-6)
        assert why.match_logit == pytest.approx(hit.itm_logit)
        assert why.match_probability == pytest.approx(hit.match_probability)


def test_words_and_places_of_the_best_hit_are_those_of_the_toys_formulas(filled: Installation) -> None:
    [best, *_] = filled.search.find(WHY).results
    why = best.explanation
    assert best.id == "parts.png"
    assert why is not None
    assert why.no_match_logit == pytest.approx(2 / 3)
    red, blue = ((1, 0), (0, 0)), ((0, 0), (0, 1))
    assert [(one.word, one.heat.values) for one in why.words] == [
        ("red", red),
        ("blue", blue),
        ("bottom", blue),
    ]
    assert why.heat.values == ((1, 0), (0, 1))
    # Red is at the bottom of no quarter: without "blue" the match logit is 8/3 − 4.
    lost = 1 / (1 + exp(2 / 3 - 4)) - 1 / (1 + exp(2 / 3 + 4 / 3))
    assert [one.drop for one in why.words] == pytest.approx([0, lost, 0], abs=1e-6)


def test_a_stored_image_is_explained_as_a_hit_is(filled: Installation) -> None:
    hits = {hit.id: hit.explanation for hit in filled.search.find(WHY).results}
    for name, why in hits.items():
        found = filled.search.explain("pictures", name, WHY.text)
        assert found.explanation == why
        assert (found.image.image_id, found.truncated, found.degraded) == (name, False, ())
    assert filled.search.explain("pictures", "red.png", "red " * 17).truncated


def test_pages_beyond_the_judged_candidates_and_late_ones_have_no_explanation(filled: Installation) -> None:
    found = filled.search.find(replace(WHY, candidates=2)).results
    assert [hit.explanation is not None for hit in found] == [True, True, False, False, False, False]
    late = filled.search.find(replace(WHY, deadline_ms=0.001)).results
    assert [hit.explanation for hit in late if hit.itm_logit is None] == [None] * len(late)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"limit": 21}, "At most 20 hits can be explained at once; lower the parameter limit."),
        (
            {"text": "", "image": StoredImage("pictures", "red.png")},
            "explain is about a text: give one",
        ),
        ({"rerank": False}, "The parameter explain tells what ITM saw: search with rerank"),
        ({"score": "itc"}, "The parameter explain tells what ITM saw: search with rerank"),
        (
            {"matcher": InstructedMatcher()},
            "The parameter explain tells .*; leave out the matcher.",
        ),
    ],
)
def test_what_cannot_be_explained_is_refused(filled: Installation, change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        filled.search.find(replace(WHY, **change))


def test_an_image_that_is_not_there_is_said_so(filled: Installation) -> None:
    with pytest.raises(NotFoundError):
        filled.search.explain("pictures", "nothing.png", "red")
    with pytest.raises(NotFoundError):
        filled.search.explain("others", "red.png", "red")
    with pytest.raises(InputError, match="The text is empty"):
        filled.search.explain("pictures", "red.png", "  ")


def test_an_image_that_waits_to_be_indexed_is_unavailable(services: Installation, tmp_path: Path) -> None:
    save(tmp_path / "pictures", "red", "red")
    services.collections.create("pictures")
    job = services.indexer.index([str(tmp_path / "pictures")], "pictures")
    with pytest.raises(UnavailableError, match="not indexed yet"):
        services.search.explain("pictures", "red.png", "red")
    services.indexer.wait(job.id, timeout=60)
    assert services.search.explain("pictures", "red.png", "red").explanation.match_logit == 4


class Judge(ToyMatcher):
    """Judges, and says nothing of words."""


def test_a_model_that_only_judges_is_refused_by_name(filled: Installation) -> None:
    collection = filled.catalog.collection("pictures")
    with filled.scheduler.admit() as admitted:
        shared = admitted.share(ToyEncoder())
        with pytest.raises(CheckpointError, match="The model toy cannot say why"):
            Reasons(filled.patches, collection, Judge(), shared, admitted)  # type: ignore[arg-type]


def test_many_at_once_are_told_the_same(filled: Installation) -> None:
    wanted = [hit.explanation for hit in filled.search.find(WHY).results]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: filled.search.find(WHY).results, range(24), timeout=120))
    assert all([hit.explanation for hit in results] == wanted for results in found)


def test_the_command_prints_words_and_places(sightline: Run, tmp_path: Path) -> None:
    save(tmp_path / "pictures", "parts", "red", "green", "green", "blue")
    assert sightline("index", str(tmp_path / "pictures"), "-c", "pictures").code == 0
    search = ("search", "red blue", "-c", "pictures", "--explain")
    told = sightline(*search)
    assert told.code == 0, told.stderr
    assert "parts.png: match 0.966 (logits +0.67 and +4.00), ITC" in told.stdout
    assert "red   0.966 without it (+0.000), seen at the top left" in told.stdout
    assert "blue  0.966 without it (+0.000), seen at the bottom right" in told.stdout
    [hit] = sightline(*search, "--json").answer["results"]
    assert hit["explanation"]["words"][1]["heat"] == {"width": 2, "height": 2, "values": [[0, 0], [0, 1]]}
    refused = sightline(*search, "-k", "21")
    assert refused.code == 2
    assert "At most 20 hits" in refused.stderr


def test_places_are_told_in_words(filled: Installation) -> None:
    [best, *_] = filled.search.find(WHY).results
    assert best.explanation is not None
    told = lines_of("x", replace(best.explanation, heat=Heat(3, 3, ((0, 0, 0), (0, 1, 0), (0, 0, 0)))))
    assert told[0].endswith("seen in the middle")
    told = lines_of("x", replace(best.explanation, heat=Heat(3, 3, ((0, 0, 0), (0, 0, 1), (0, 0, 0)))))
    assert told[0].endswith("seen at the right")
    told = lines_of("x", replace(best.explanation, heat=Heat(1, 1, ((0.0,),))))
    assert told[0].endswith("seen nowhere")
