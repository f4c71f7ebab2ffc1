"""Dates with times and zones in filters mean instants; other texts are compared as texts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from sightline.store.filters import parse_filter
from sightline.store.moments import instant_key
from tests.store.catalog_world import World, emptied, item, opened

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMPARE = {
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
}
DAYS = ["2026-01-01", "2025-12-31", "2024-02-29", "1969-12-31", "0001-01-01", "9999-12-31"]
CLOCKS = ["00:00:00", "00:30:00", "23:59:59", "22:30:00", "23:59:60"]
FRACTIONS = ["", ".5", ".500", ".000001", ".0000001", ".123456789012345678"]
ZONES = ["Z", "z", "+02:00", "-02:00", "+00:00", "-00:00", "+23:59", "-23:59", "+05:45"]
NO_INSTANTS = [
    "2026-02-30T00:00:00Z",
    "2023-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:61Z",
    "2026-01-01T00:00:00+24:00",
    "2026-01-01T00:00:00+0200",
    "2026-01-01T00:00:00.Z",
    "2026-01-01T00:00:00.1234567890123456789Z",
    "2026-01-01T00:00Z",
    "2026-01-01T00:00:00",
    "2026-01-01",
    "2026",
    "12026-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z\n",
    "\n2026-01-01T00:00:00Z",
    " 2026-01-01T00:00:00Z",
    "２026-01-01T00:00:00Z",
    "٢026-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z; 2026-01-01T00:00:00Z",
    "now",
    "infinity",
    "",
]
OTHERS: list[Any] = [1767225600, 1767225600.5, True, None, {"at": "2026-01-01T00:00:00Z"}]


def meaning(text: object) -> Fraction | None:
    """Seconds since 1970, by Python's own dates: written for these tests, and known to be right."""
    if not isinstance(text, str) or text in NO_INSTANTS:
        return None
    day, clock, zone = text[:10], text[11:19], "+00:00" if text[-1] in "zZ" else text[-6:]
    fraction = Fraction("0" + text[19:].removesuffix(text[-1] if text[-1] in "zZ" else text[-6:]))
    leap = timedelta(seconds=1) if clock.endswith(":60") else timedelta()
    moment = datetime.fromisoformat(f"{day}T{clock.replace(':60', ':59')}{zone}")
    return Fraction((moment - EPOCH) // timedelta(seconds=1) + leap.seconds) + fraction


def written_instants() -> list[str]:
    draw = random.Random(5)
    parts = (DAYS, "Tt ", CLOCKS, FRACTIONS, ZONES)
    drawn = {"".join(draw.choice(part) for part in parts) for _ in range(150)}
    return sorted(drawn | {"2026-01-01T00:30:00+02:00", "2026-01-01T00:00:00Z", "2025-12-31T22:30:00Z"})


WRITTEN = written_instants()


@pytest.fixture(scope="module")
def world(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as shared, emptied(shared) as world:
        values = [*WRITTEN, *NO_INSTANTS, *OTHERS]
        world.add(*(item(f"{number}", at=value) for number, value in enumerate(values)), batch_size=300)
        world.add(item("list", at=["2030-01-01", "2031-01-01T01:00:00+01:00", 7]))
        yield world


def found(world: World, condition: dict[str, Any]) -> set[str]:
    wanted = parse_filter({"field": "metadata.at", **condition})
    page = world.catalog.images("pictures", limit=1000, filter=wanted)
    return {image.image_id for image in page.items if image.image_id != "list"}


def fitting(condition: dict[str, str], values: list[Any]) -> set[str]:
    bounds = [(COMPARE[name], meaning(bound)) for name, bound in condition.items()]
    return {
        str(number)
        for number, value in enumerate(values)
        if (at := meaning(value)) is not None and all(compare(at, bound) for compare, bound in bounds)
    }


def test_ranges_and_equality_go_by_the_instant(world: World) -> None:
    values = [*WRITTEN, *NO_INSTANTS, *OTHERS]
    draw = random.Random(8)
    sizes = set()
    for _ in range(60):
        bounds = {name: draw.choice(WRITTEN) for name in draw.sample(sorted(COMPARE), draw.randint(1, 2))}
        hits = found(world, {"range": bounds})
        assert hits == fitting(bounds, values), bounds
        sizes.add(len(hits))
    assert len(sizes) > 20
    for text in draw.sample(WRITTEN, 20):
        same = {str(n) for n, value in enumerate(values) if meaning(value) == meaning(text)}
        assert found(world, {"equals": text}) == same, text
        assert found(world, {"in": [text, 7, "now"]}) == same | {str(values.index("now"))}, text


def test_an_instant_in_a_list_of_values_is_found(world: World) -> None:
    wanted = parse_filter(
        {"field": "at", "range": {"gte": "2031-01-01T00:00:00Z", "lt": "2031-01-01T00:00:01Z"}}
    )
    assert [image.image_id for image in world.catalog.images("pictures", filter=wanted).items] == ["list"]


@pytest.mark.parametrize("bound", ["2026-01-01", "2026-01-01T00:00:00", "2026", "2026-02-30T00:00:00Z"])
def test_what_names_no_instant_is_compared_as_text(world: World, bound: str) -> None:
    values = [*WRITTEN, *NO_INSTANTS, *OTHERS]
    later = {str(n) for n, value in enumerate(values) if isinstance(value, str) and value > bound}
    assert found(world, {"range": {"gt": bound}}) == later


def test_texts_that_only_look_like_instants_are_none() -> None:
    assert [text for text in NO_INSTANTS if instant_key(text) is not None] == []
    assert [text for text in WRITTEN if instant_key(text) is None] == []


@pytest.fixture
def timed(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as shared, emptied(shared) as world:
        yield world


def shown(seconds: float) -> datetime:
    """As answers show it."""
    return datetime.fromtimestamp(seconds, UTC)


def test_times_of_images_are_compared_as_answers_show_them(timed: World) -> None:
    """Answers show microseconds: what the catalog keeps between them surprises nobody."""
    start, draw = datetime(2026, 11, 23, 22, 40, 0, 500_000, UTC).timestamp(), random.Random(3)
    for number in range(16):
        timed.time = start + draw.choice([0, 1, 2, 3, 250_000]) * 1e-6 + number % 6 * 2.4e-7
        timed.add(item(f"{number}"))
    images = timed.catalog.images("pictures", limit=1000).items
    assert len({image.created_at for image in images}) > len({shown(image.created_at) for image in images})
    for text in {shown(image.created_at).isoformat() for image in images}:
        at = datetime.fromisoformat(text)
        for name, compare in COMPARE.items():
            page = timed.catalog.images(
                "pictures", limit=1000, filter=parse_filter({"field": "created_at", "range": {name: text}})
            )
            wanted = {image.image_id for image in images if compare(shown(image.created_at), at)}
            assert {image.image_id for image in page.items} == wanted, (name, text)
        same = {image.image_id for image in images if shown(image.created_at) == at}
        for condition in ({"equals": text}, {"in": [text, 5]}):
            asked = parse_filter({"field": "created_at", **condition})
            page = timed.catalog.images("pictures", limit=1000, filter=asked)
            assert {image.image_id for image in page.items} == same, (condition, text)
