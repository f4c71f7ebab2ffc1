"""The order of found images by a field is one on both databases, and what plain Python says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from sightline.errors import InputError
from sightline.store.moments import instant_key
from sightline.store.sorting import in_order, parse_sort
from tests.store.catalog_world import World, emptied, item, opened
from tests.store.test_store_filters import random_registration, value_of


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def ordered(world: World, sort: str, keys: list[int] | None = None) -> list[int]:
    keys = sorted(world.live().values()) if keys is None else keys
    parsed = parse_sort(sort)
    return in_order(keys, world.catalog.sort_values(world.collection.id, keys, parsed), parsed.down)


def places(value: Any) -> list[tuple[int, Any]]:
    """Of each scalar in a value: its kind's place, and what it is compared by."""
    found: list[tuple[int, Any]] = []
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, bool):
            found.append((0, one))
        elif isinstance(one, int | float):
            found.append((1, one))
        elif isinstance(one, str):
            meant = instant_key(one)
            found.append((3, one[:256]) if meant is None else (2, meant))
    return found


def expected(world: World, sort: str) -> list[int]:
    name, down = sort.removeprefix("-"), sort.startswith("-")
    images = world.catalog.images("pictures", limit=1000).items
    values = {image.key: places(value_of(image, name)) for image in images}
    there = [image.key for image in images if values[image.key]]
    best = max if down else min
    up = sorted(there, key=lambda key: best(values[key]), reverse=down)
    return up + [image.key for image in images if not values[image.key]]


@pytest.mark.parametrize("down", ["", "-"])
def test_random_metadata_stand_in_the_order_that_plain_python_gives_them(world: World, down: str) -> None:
    draw = random.Random(5)
    world.add(*(random_registration(draw, number) for number in range(120)), batch_size=120)
    for name in ("created_at", "metadata.a", "metadata.tags", "metadata.n.x", "metadata.0", "metadata.none"):
        assert ordered(world, down + name) == expected(world, down + name), name


def test_kinds_instants_and_long_texts_have_their_places(world: World) -> None:
    values: list[Any] = [
        "2020-01-01T01:00:00+02:00", "2020-01-01T00:00:00Z", "2019-12-31", 2**53 + 1, 2**53, 0.5, True, False,
        "x" * 300 + "b", "x" * 300 + "a", "ä", "z", "", None, {"b": 1}, [], ["zz", -1], "2020-01-01T00:00:00",
    ]  # fmt: skip
    world.add(*(item(f"{number:02d}", v=value) for number, value in enumerate(values)), batch_size=50)
    for sort in ("metadata.v", "-metadata.v"):
        assert ordered(world, sort) == expected(world, sort)
    names = {key: name for name, key in world.live().items()}
    up = [names[key] for key in ordered(world, "metadata.v")]
    assert up[:6] == ["07", "06", "16", "05", "04", "03"]
    assert up[6:8] == ["00", "01"], "an instant is what it means, whatever its zone"
    assert up[-3:] == ["13", "14", "15"], "what has no value comes last"
    assert [names[key] for key in ordered(world, "-metadata.v")][-3:] == up[-3:]


def test_names_are_found_composed_and_decomposed(world: World) -> None:
    world.add(item("a", café=2), item("b", café=1))
    a, b = world.live()["a"], world.live()["b"]
    assert ordered(world, "metadata.caf\u00e9") == ordered(world, "metadata.cafe\u0301") == [b, a]


def test_times_of_arrival_and_many_keys(world: World) -> None:
    for number in range(3):
        world.time += 10 - number
        world.add(item(f"{number}"), batch_size=10)
    keys = [world.live()[f"{number}"] for number in range(3)]
    assert ordered(world, "created_at") == keys
    assert ordered(world, "-created_at") == keys[::-1]
    none = list(range(10**6, 10**6 + 12_000))
    assert ordered(world, "-created_at", [*none, *keys]) == [*keys[::-1], *none]


@pytest.mark.parametrize(
    "sort",
    ["", "-", "size", "id", "--created_at", "-relevance", "relevance", "metadata", "metadata.", "metadata.a.",
     "year", "metadata.a\x00b", 'metadata.a"b', "metadata." + "a" * 2000, "metadata.\ud800"],
)  # fmt: skip
def test_what_names_no_field_is_refused_with_a_sentence(sort: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_sort(sort)
    assert str(refused.value).endswith(".")
    assert len(str(refused.value)) < 300
