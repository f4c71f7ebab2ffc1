"""Patches: from the segment, else from the original again, with the same scores either way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sightline.records import SearchRequest, SearchResponse
from sightline.settings import Settings
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, save


@pytest.fixture
def uncached(settings: Settings, tmp_path: Path) -> Iterator[Installation]:
    """An installation that keeps no patches."""
    bare = settings.model_copy(
        update={"data": tmp_path / "bare", "indexer": replace(settings.indexer, patch_codec="none")}
    )
    with open_installation(bare, inline=True) as services:
        yield services


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, quarters in {
        "a": ("red", "blue"),
        "b": ("purple",),
        "c": ("green", "red"),
        "d": ("black",),
    }.items():
        save(tmp_path / "pictures", name, *quarters)
    return tmp_path / "pictures"


def scores(response: SearchResponse) -> list[tuple[str, float, float | None]]:
    return [(hit.id, hit.score, hit.match_probability) for hit in response.results]


def test_encoding_originals_again_gives_the_cached_scores(
    services: Installation, uncached: Installation, folder: Path
) -> None:
    request = SearchRequest("pictures", "red blue")
    for installation in (services, uncached):
        index(installation, folder)
    assert scores(uncached.search.find(request)) == scores(services.search.find(request))


def test_a_lost_original_costs_one_image_its_judgement_and_no_more(
    uncached: Installation, folder: Path
) -> None:
    index(uncached, folder)
    (folder / "a.png").unlink()
    save(folder, "c", "white")  # other bytes than those that were indexed
    response = uncached.search.find(SearchRequest("pictures", "red blue"))
    judged = {hit.id: hit.itm_logit is not None for hit in response.results}
    assert judged == {"a.png": False, "b.png": True, "c.png": False, "d.png": True}
    assert response.scored == 2
    assert [hit.id for hit in response.results[:2]] == ["b.png", "d.png"]


def test_a_lost_segment_is_made_up_for_by_the_originals(services: Installation, folder: Path) -> None:
    index(services, folder)
    services.builder.fold("pictures")
    before = scores(services.search.find(SearchRequest("pictures", "red blue")))
    for file in services.settings.segments_folder.glob("*.safetensors"):
        services.segments.forget(file.name)
        file.unlink()
    assert scores(services.search.find(SearchRequest("pictures", "red blue"))) == before
