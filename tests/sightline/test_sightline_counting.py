"""All pictures above a match probability, in an order and with their number, against judging them all."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import InputError, NotFoundError
from sightline.records import SearchHit, SearchRequest, SearchResponse
from sightline.rerank_records import StoredImage
from sightline.store.records import Image
from sightline.wiring import Installation, open_installation
from tests.sightline.conftest import Run, index, save, toy_settings
from tests.sightline.test_sightline_search import oracle as judged_here

oracle = cache(judged_here)
WORDS = ("red", "green", "blue", "yellow", "purple", "white", "orange", "cyan")
MANY = 280
SORTS = ("relevance", "created_at", "-created_at", "metadata.year", "-metadata.year", "metadata.day.at")


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
    for one, other in itertools.permutations(WORDS[:3], 2):
        text, least = f"{one} left {other} right", 0.975
        all_of_it = {name for name, (_, _, p) in oracle(pictures, text).items() if p >= least}
        found = counted(filled, text, least)
        assert set(ids(found.results)) <= all_of_it
        assert found.total_is == ("exact" if found.scored == MANY else "at_least")
        shares.append(found.scored / MANY)
    assert min(shares) < 0.5


def value(image: Image, field: str) -> Any:
    found: Any = image.created_at if field == "created_at" else image.metadata
    for part in field.removeprefix("metadata.").split(".") if field != "created_at" else ():
        found = found.get(part) if isinstance(found, dict) else None
    if field == "metadata.day.at" and found is not None:
        return datetime.fromisoformat(found)
    return found


def in_order(services: Installation, names: set[str], sort: str) -> list[str]:
    """Numbers before texts, what has none last; ties in the order in which pictures came."""
    field, down = sort.removeprefix("-"), sort.startswith("-")
    images = {image.image_id: image for image in services.catalog.images("pictures", limit=1000).items}
    keys = {name: images[name].key for name in names}
    there = {name: found for name in names if (found := value(images[name], field)) is not None}

    def rank(name: str) -> tuple[bool, Any]:
        return isinstance(there[name], str), there[name]

    by_key = sorted(names, key=lambda name: keys[name])
    ordered = sorted((name for name in by_key if name in there), key=rank, reverse=down)
    return ordered + [name for name in by_key if name not in there]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("exact", [True, False])
def test_pages_put_together_are_all_hits_in_order(
    filled: Installation, pictures: Path, sort: str, exact: bool
) -> None:
    truth = oracle(pictures, "red blue")
    names = {name for name, (_, _, p) in truth.items() if p >= 0.9}
    several = list(pages(filled, "red blue", 0.9, 7, sort=sort, exact=exact))
    together = [hit for page in several for hit in page.results]
    if exact:
        assert set(ids(tuple(together))) == names
    assert len({page.total for page in several}) == 1
    assert several[0].total == len(together) == len({hit.id for hit in together})
    assert [hit.rank for hit in together] == list(range(1, len(together) + 1))
    if sort == "relevance":
        assert [hit.score for hit in together] == sorted((hit.score for hit in together), reverse=True)
    else:
        assert [hit.id for hit in together] == in_order(filled, {hit.id for hit in together}, sort)


def test_another_process_goes_on_where_a_page_ended(filled: Installation, pictures: Path) -> None:
    whole = counted(filled, "green left", 0.9, sort="-created_at")
    first = counted(filled, "green left", 0.9, sort="-created_at", limit=5)
    with open_installation(filled.settings, inline=True) as others:
        second = counted(others, "green left", 0.9, sort="-created_at", limit=5, cursor=first.next_cursor)
    assert ids(first.results) + ids(second.results) == ids(whole.results)[:10]
    assert (second.scored, second.total) == (first.scored, first.total)


def test_the_second_page_judges_nothing_again(filled: Installation) -> None:
    first = counted(filled, "yellow right", 0.8, limit=3)
    again = counted(filled, "yellow right", 0.8, limit=3, cursor=first.next_cursor)
    assert again.timings.rerank_ms == again.timings.encode_ms == 0.0
    assert (again.scored, again.total) == (first.scored, first.total)


def test_a_filter_is_counted_alone(filled: Installation, pictures: Path) -> None:
    named = {"field": "metadata.year", "exists": True}
    found = counted(filled, "red", 0.5, filter=named)
    truth = oracle(pictures, "red")
    images = filled.catalog.images("pictures", limit=1000).items
    with_year = {image.image_id for image in images if value(image, "metadata.year") is not None}
    assert (found.total_is, found.images) == ("exact", len(with_year))
    assert set(ids(found.results)) == {name for name in with_year if truth[name][2] >= 0.5}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"min_probability": None, "sort": "created_at"}, "sort needs min_probability"),
        ({"min_probability": None, "sort": None, "exact": True}, "exact needs min_probability"),
        ({"min_probability": None, "sort": None, "cursor": "x"}, "cursor needs min_probability"),
        ({"sort": "size"}, "The parameter sort is relevance, created_at"),
        ({"sort": "-relevance"}, "The parameter sort is relevance, created_at"),
        ({"sort": "metadata."}, "The parameter sort names no field"),
        ({"sort": "metadata.a..b"}, "The parameter sort names no field"),
        ({"cursor": "x"}, "not a cursor that a search gave"),
        ({"cursor": "\N{PILE OF POO}"}, "not a cursor that a search gave"),
        ({"cursor": "W10"}, "not a cursor that a search gave"),
        ({"precision": "exact"}, "in one precision"),
        ({"cursor": "x", "offset": 3}, "at a cursor or at an offset"),
        ({"rerank": False}, "needs ITM scores"),
    ],
)
def test_what_cannot_be_counted_is_refused(filled: Installation, more: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        counted(filled, "red", 0.5, **more)


def test_relevance_without_a_probability_is_a_plain_search(filled: Installation) -> None:
    plain = filled.search.find(SearchRequest("pictures", "red", limit=5))
    found = filled.search.find(SearchRequest("pictures", "red", limit=5, sort="relevance"))
    assert found.results == plain.results
    assert (found.total, found.total_is, found.next_cursor) == (None, None, None)


def test_a_cursor_goes_with_its_search_only(filled: Installation) -> None:
    cursor = counted(filled, "red", 0.5, limit=3).next_cursor
    for more in (
        {"sort": "created_at"},
        {"min_probability": 0.6},
        {"filter": {"field": "id", "exists": True}},
    ):
        with pytest.raises(InputError, match="of another search"):
            counted(filled, "red", 0.5, **({"limit": 3, "cursor": cursor} | more))
    with pytest.raises(InputError, match="of another search"):
        counted(filled, "blue", 0.5, limit=3, cursor=cursor)
    assert counted(filled, "red", 0.5, limit=9, cursor=cursor).results[0].rank == 4


def limited(services: Installation, most: int) -> Installation:
    serving = replace(services.settings.serving, max_judged=most)
    return open_installation(services.settings.model_copy(update={"serving": serving}), inline=True)


def test_no_more_are_judged_than_is_set(filled: Installation) -> None:
    with limited(filled, 50) as services:
        found = counted(services, "red", 0.0)
        assert (found.scored, found.total, found.total_is) == (50, 50, "at_least")
        with pytest.raises(InputError, match=f"all {MANY} pictures .* at most 50 .*SERVING__MAX_JUDGED"):
            counted(services, "red", 0.5, exact=True)


def test_a_deadline_ends_a_count_which_says_so_and_is_not_taken_for_whole(filled: Installation) -> None:
    late = counted(filled, "purple bottom", 0.5, deadline_ms=1e-6)
    assert (late.scored, late.total, late.total_is) == (0, 0, "at_least")
    assert counted(filled, "purple bottom", 0.5).total


def test_a_watch_is_told_what_itc_says_first(filled: Installation) -> None:
    told: list[SearchResponse] = []

    class Watch:
        def candidates(self, response: SearchResponse) -> None:
            told.append(response)

        def is_due(self) -> bool:
            return True

        def order(self, hits: object, scored: int, of: int) -> None:
            raise AssertionError("the order of a count is known at its end")

    request = SearchRequest("pictures", "cyan top", limit=5, min_probability=0.5, sort="created_at")
    found = filled.search.find(request, Watch())
    (first,) = told
    assert [hit.itc_rank for hit in first.results] == [1, 2, 3, 4, 5]
    assert (first.scored, first.total) == (0, None)
    assert found.total


def test_pages_stay_sane_while_pictures_come_and_go(tmp_path: Path) -> None:
    draw = random.Random(3)
    with open_installation(toy_settings(tmp_path / "data"), inline=True) as services:
        folder = tmp_path / "pictures"
        for number in range(30):
            save(folder, f"{number:03d}", "red", draw.choice(WORDS))
        index(services, folder)
        asked: dict[str, Any] = {"limit": 6, "sort": "created_at"}
        first = counted(services, "red", 0.5, **asked)
        whole = ids(counted(services, "red", 0.5, sort="created_at").results)
        number = services.catalog.collection("pictures").id
        services.catalog.delete_images(number, ids=[whole[0], whole[5], whole[8]])
        second = counted(services, "red", 0.5, cursor=first.next_cursor, **asked)
        left = [name for name in whole[6:] if name != whole[8]]
        assert ids(second.results) == left[:6]
        services.catalog.delete_images(number, ids=left)
        third = counted(services, "red", 0.5, cursor=second.next_cursor, **asked)
        assert (third.results, third.next_cursor) == ((), None)


def test_the_command_counts_sorts_and_pages(filled: Installation, sightline: Run) -> None:
    data = str(filled.settings.data_folder)
    asked = ["search", "red", "-c", "pictures", "--data", data, "--min-probability", "0.5", "-k", "4"]
    first = sightline(*asked, "--sort", "-created_at", "--json")
    assert first.code == 0, first.stderr
    whole = ids(counted(filled, "red", 0.5, sort="-created_at").results)
    second = sightline(*asked, "--sort", "-created_at", "--cursor", first.answer["next_cursor"], "--json")
    assert [hit["id"] for page in (first, second) for hit in page.answer["results"]] == whole[:8]
    told = sightline(*asked, "--exact")
    assert f"in all · {MANY} of {MANY} pictures judged" in told.stderr
    assert "--cursor " in told.stderr
    assert sightline(*asked[:6], "--sort", "created_at").code == 2


def test_a_count_by_a_stored_picture_goes_with_the_picture_and_not_with_its_name(
    filled: Installation, tmp_path: Path
) -> None:
    """Of another collection, whose changes are no new version of the one that is searched."""
    save(tmp_path, "one", "red")
    index(filled, tmp_path, "others")
    image = StoredImage("others", "one.png")
    like_red = counted(filled, "red", 0.0, image=image, limit=5)
    save(tmp_path, "one", "cyan")
    index(filled, tmp_path, "others")
    like_cyan = counted(filled, "red", 0.0, image=image, limit=5)
    assert [hit.score for hit in like_cyan.results] != [hit.score for hit in like_red.results]
    filled.purging.images("others", ["one.png"])
    with pytest.raises(NotFoundError):
        counted(filled, "red", 0.0, image=image, limit=5)
