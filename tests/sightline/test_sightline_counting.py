"""All pictures above a match probability, in an order and with their number, against judging them all here."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import InputError
from sightline.records import SearchHit, SearchRequest, SearchResponse
from sightline.searching.count_law import depths
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import index, save, toy_settings
from tests.sightline.test_sightline_search import oracle

WORDS = ("red", "green", "blue", "yellow", "purple", "white", "orange", "cyan")
MANY = 320


def fill(services: Installation, folder: Path) -> None:
    """Pictures of random quarters; half of them folded, with a year, a day, both or none."""
    draw = random.Random(7)
    for number in range(MANY):
        if number == MANY // 2:
            index(services, folder)
            services.builder.fold("pictures")
        save(folder, f"{number:03d}", *(draw.choice(WORDS) for _ in range(4)))
    index(services, folder)
    for number in range(0, MANY, 11):
        metadata: dict[str, Any] = {"year": 1990 + number % 7}
        if number % 2:
            metadata = {"year": str(number % 9), "day": {"at": f"2020-01-01T{number % 24:02d}:00:00+02:00"}}
        services.catalog.update_image("pictures", f"{number:03d}.png", metadata=metadata)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def filled(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with open_installation(toy_settings(tmp_path_factory.mktemp("data")), inline=True) as services:
        fill(services, pictures)
        yield services


def counted(services: Installation, text: str, least: float, **more: Any) -> SearchResponse:
    given: dict[str, Any] = {"limit": 1000, "min_probability": least, "sort": "relevance"} | more
    return services.search.find(SearchRequest("pictures", text, **given))


def ids(hits: tuple[SearchHit, ...]) -> list[str]:
    return [hit.id for hit in hits]


def pages(
    services: Installation, text: str, least: float, limit: int, **more: Any
) -> Iterator[SearchResponse]:
    cursor = None
    for _ in range(2 * MANY):
        page = counted(services, text, least, limit=limit, cursor=cursor, **more)
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize(
    ("text", "least"),
    [("red", 0.9), ("red left blue", 0.95), ("green top left purple", 0.97), ("white", 0.5)],
)
def test_an_exact_count_is_what_judging_everything_gives(
    filled: Installation, pictures: Path, text: str, least: float
) -> None:
    truth = oracle(pictures, text)
    found = counted(filled, text, least, exact=True)
    assert (found.total_is, found.scored, found.images) == ("exact", MANY, MANY)
    assert set(ids(found.results)) == {name for name, (_, _, p) in truth.items() if p >= least}
    assert found.total == len(found.results)
    scores = [hit.score for hit in found.results]
    assert scores == sorted(scores, reverse=True)
    assert [hit.rank for hit in found.results] == list(range(1, found.total + 1))


def test_a_count_ends_before_everything_is_judged_and_then_says_at_least(
    filled: Installation, pictures: Path
) -> None:
    shares = []
    for one, other in itertools.permutations(WORDS[:5], 2):
        text, least = f"{one} left {other} right", 0.975
        all_of_it = {name for name, (_, _, p) in oracle(pictures, text).items() if p >= least}
        found = counted(filled, text, least)
        assert set(ids(found.results)) <= all_of_it
        assert found.total_is == ("exact" if found.scored == MANY else "at_least")
        shares.append(found.scored / MANY)
    assert min(shares) < 0.5
