"""Filters are found by values of fields, at once or by what changed since, whatever happens to images."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, delete, func, select, update

from sightline.errors import NotFoundError
from sightline.store.conditions import Filter
from sightline.store.field_values import MAX_PATH, MAX_TEXT, FieldKind, field_values
from sightline.store.filtered import Filtered, KeySet
from sightline.store.filters import parse_filter
from sightline.store.schema_fields import FieldValueRow, MetadataFieldRow
from sightline.store.sql.filter_sql import condition
from sightline.store.sql.rows import IMAGES
from sightline.types import Keys
from tests.store.catalog_world import World, emptied, item, opened
from tests.store.test_store_filters import holds, random_filter, random_registration


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def row_by_row(world: World, filter: Filter) -> list[int]:
    """Asked of each image's metadata, without any index of values."""

    def read(connection: Connection) -> list[int]:
        here = (IMAGES.c.collection_id == world.collection.id, IMAGES.c.state == "live")
        query = select(IMAGES.c.key).where(*here, condition(filter, connection.dialect.name))
        return sorted(connection.scalars(query))

    return world.catalog.database.read(read)


class Kept:
    """What a process keeps of one filter, brought along by what changed."""

    def __init__(self, written: dict[str, Any]) -> None:
        self.written, self.filter = written, parse_filter(written)
        self.version: int | None = None
        self.keys: Keys = np.empty(0, np.int64)
        self.told: list[Filtered] = []

    def follow(self, world: World) -> list[int]:
        """The live keys that it has now."""
        told = world.catalog.filtered(world.collection.id, self.filter, self.version)
        self.keys, self.version = told.after(self.keys), told.version
        self.told.append(told)
        return sorted(set(self.keys.tolist()) & set(world.live().values()))


def live_one(world: World, draw: random.Random) -> list[str]:
    names = sorted(world.live())
    return draw.sample(names, min(len(names), 3))


def something_happens(world: World, draw: random.Random, number: int) -> None:
    catalog, collection = world.catalog, world.collection
    some = live_one(world, draw)
    happening = draw.randrange(9)
    if happening < 3 or not some:
        world.add(*(random_registration(draw, 10 * number + n) for n in range(4)))
    elif happening == 3:
        metadata = random_registration(draw, 0).metadata
        catalog.update_image("pictures", some[0], caption="Kelvin", metadata=metadata)
    elif happening == 4:
        catalog.delete_images(collection.id, ids=some)
    elif happening == 5:
        catalog.restore_images(collection.id)
    elif happening == 6:
        catalog.begin_purge(collection.id, ids=some[:1])
    elif happening == 7:  # other bytes under the same id: a new key
        world.add(*(replace(random_registration(draw, 0), image_id=name, sha256="1" * 64) for name in some))
    else:  # the same bytes with other metadata
        image = catalog.image("pictures", some[0])
        new = replace(random_registration(draw, 0), image_id=image.image_id, sha256=image.sha256)
        world.job(new)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_what_is_kept_of_a_filter_follows_whatever_happens_to_images(world: World, seed: int) -> None:
    draw = random.Random(seed)
    kept = [Kept(random_filter(draw)) for _ in range(8)]
    for number in range(40):
        something_happens(world, draw, number)
        images = world.catalog.images("pictures", limit=1000).items
        for one in draw.sample(kept, 4):  # the others catch up with several versions at once
            wanted = [image.key for image in images if holds(image, one.written)]
            assert one.follow(world) == wanted, one.written
            assert world.catalog.filter_keys(world.collection.id, one.filter).tolist() == wanted
    assert sum(not told.whole for one in kept for told in one.told) > 30


LONG = ["a" * MAX_TEXT, "a" * (MAX_TEXT + 1), "a" * MAX_TEXT + "b", "é" * MAX_TEXT, "b" * 2_000, "", "a"]
"""Texts about as long as what is kept of them: "é" has a longer form."""


def test_long_texts_are_told_apart_by_what_no_index_keeps(world: World) -> None:
    world.add(*(item(f"{n}", t=[text, n]) for n, text in enumerate(LONG)), item("other", t=1))
    bounds = [*LONG, "a" * (MAX_TEXT - 1), "a" * (MAX_TEXT - 1) + "b", "a" * (2 * MAX_TEXT), "b"]
    written: list[dict[str, Any]] = [{"equals": text} for text in bounds] + [{"in": LONG[1:4]}]
    written += [{"range": {name: text}} for text in bounds for name in ("gt", "gte", "lt", "lte")]
    written += [
        {"range": {"gt": "a" * MAX_TEXT, "lte": "b" * 300}},
        {"contains": "B"},
        {"contains": "a" * 300},
    ]
    images = world.catalog.images("pictures", limit=100).items
    for operator in written:
        one = {"field": "t", **operator}
        found = world.catalog.filter_keys(world.collection.id, parse_filter(one)).tolist()
        assert found == [image.key for image in images if holds(image, one)], operator
        assert found == row_by_row(world, parse_filter(one))


def test_fields_with_long_or_odd_names_are_found_all_the_same(world: World) -> None:
    long = "n" * (MAX_PATH + 1)
    world.add(item("a", **{long: 1, "x.y": 2, "": 3, "x": {"y": 4}, "e\u0301": 5}), item("b", **{long: 2}))
    for name, value, wanted in [(long, 1, 1), ("x.y", 4, 1), ("x.y", 2, 0), ("é", 5, 1), ("x", 4, 0)]:
        filter = parse_filter({"field": name, "equals": value})
        found = world.catalog.filter_keys(world.collection.id, filter).tolist()
        assert len(found) == wanted, name
        assert found == row_by_row(world, filter)


def test_a_column_and_a_field_are_asked_together(world: World) -> None:
    world.add(*(item(f"{n:02}", year=2000 + n % 3, tags=["a"] * (n % 2)) for n in range(20)))
    written = {
        "must": [{"field": "year", "equals": 2001}, {"field": "id", "range": {"lt": "15"}}],
        "should": [{"field": "tags", "equals": "a"}, {"field": "id", "equals": "04"}],
        "must_not": [{"field": "id", "equals": "07"}],
    }
    images = world.catalog.images("pictures", limit=100).items
    wanted = [image.key for image in images if holds(image, written)]
    assert world.catalog.filter_keys(world.collection.id, parse_filter(written)).tolist() == wanted
    assert len(wanted) == 3


def test_a_collection_that_is_gone_is_said(world: World) -> None:
    number = world.collection.id
    world.catalog.delete_collection("pictures")
    [trashed] = world.catalog.trashed_collections()
    world.catalog.empty_collection(trashed.id)
    with pytest.raises(NotFoundError):
        world.catalog.filtered(number, Filter())


def test_nothing_is_left_of_the_values_of_what_is_gone(world: World) -> None:
    def rows(connection: Connection) -> tuple[int, list[str]]:
        values = connection.scalar(select(func.count()).select_from(FieldValueRow))
        paths = select(MetadataFieldRow.path).order_by(MetadataFieldRow.path)
        return values or 0, list(connection.scalars(paths))

    read = world.catalog.database.read
    world.add(item("a", secret={"of": "a"}, both=1), item("b", both="2"), item("c", other=None))
    assert read(rows) == (4, ["both", "secret", "secret.of"])
    world.catalog.delete_images(world.collection.id, ids=["b"])
    assert read(rows)[0] == 4  # it may come back
    world.catalog.begin_purge(world.collection.id, ids=["a"])
    assert read(rows) == (1, ["both"])
    world.catalog.empty_trash(world.collection.id)
    assert read(rows)[0] == 0


@pytest.mark.parametrize("damage", ["lost", "other", "strange"])
def test_values_that_are_not_those_of_the_metadata_are_found_by_the_check(world: World, damage: str) -> None:
    world.add(item("a", year=1999), item("b", year=2000))
    key = world.live()["b"]
    here = FieldValueRow.key == key
    damages = {
        "lost": delete(FieldValueRow).where(here),
        "other": update(FieldValueRow).where(here).values(number=2001),
        "strange": update(IMAGES).where(IMAGES.c.key == key).values(metadata={}),
    }
    world.catalog.database.write(lambda connection: connection.execute(damages[damage]))
    [said] = world.catalog.check()
    assert "field values" in said
    assert said.endswith(f"1, for example {key}")
    world.catalog.update_image("pictures", "b", metadata={"year": 2000})
    assert world.catalog.check() == []


def test_each_scalar_has_one_value_and_an_instant_two() -> None:
    metadata = {"a": [1, True, None, "x", {"b": 1}], "o": {}, "t": "2026-01-01T00:00:00Z", "n": None, "e": []}
    found = [(one.path, one.place, one.kind) for one in field_values(metadata)]
    number, flag, text = FieldKind.NUMBER, FieldKind.FLAG, FieldKind.TEXT
    assert found == [
        ("a", 0, number), ("a", 1, flag), ("a", 2, text), ("o", 0, FieldKind.OTHER), ("t", 0, text),
        ("t", 1, FieldKind.INSTANT), ("e", 0, FieldKind.OTHER),
    ]  # fmt: skip


@pytest.mark.parametrize("number", [0.1, 1e300, -5e-324, 2**63 - 1, -(2**63), 2**53 + 1, 1.5, 0])
def test_a_number_comes_back_from_either_database_as_it_was(world: World, number: float) -> None:
    world.add(item("a", n=number))
    found = world.catalog.database.read(lambda connection: connection.scalar(select(FieldValueRow.number)))
    assert Decimal(found) == Decimal(number)


def test_sets_of_keys_are_combined_as_sets_are() -> None:
    draw = random.Random(3)
    everything = set(range(60))

    def members(keys: KeySet) -> set[int]:
        own = set(keys.keys.tolist())
        assert keys.keys.tolist() == sorted(own)
        return everything - own if keys.all_but else own

    for _ in range(300):
        left, right = (
            KeySet(
                np.array(sorted(draw.sample(range(60), draw.randrange(40))), np.int64), draw.random() < 0.5
            )
            for _ in range(2)
        )
        assert members(left & right) == members(left) & members(right)
        assert members(left | right) == members(left) | members(right)
        assert members(~left) == everything - members(left)
