"""What is stored composed is found decomposed, and the other way round; two images stay two."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest

from sightline.errors import NotFoundError
from sightline.store.filters import parse_filter
from sightline.store.records import Image
from tests.store.catalog_world import World, emptied, item, opened

WORDS = ["é", "Größe", "ẛ̣", "각", "Å", "naïve", "ệ", "plain", "Ω", "ﬁ", "日本"]
FORMS = ("NFC", "NFD")


def spelled(word: str) -> list[str]:
    return sorted({unicodedata.normalize(form, word) for form in FORMS})


def same(left: str, right: str) -> bool:
    """The independent reading: canonically equivalent."""
    return unicodedata.normalize("NFD", left) == unicodedata.normalize("NFD", right)


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def found(world: World, condition: dict[str, Any]) -> set[str]:
    page = world.catalog.images("pictures", limit=1000, filter=parse_filter(condition))
    return {image.image_id for image in page.items}


def test_filters_find_the_other_form_in_every_field(world: World) -> None:
    draw = random.Random(4)
    items = []
    for number, word in enumerate(form for each in WORDS for form in spelled(each)):
        other = draw.choice(spelled(draw.choice(WORDS)))
        metadata = {"w": [word, 3], draw.choice(spelled("größe")): other}
        items.append(item(f"{number}/{word}", caption=f"a {other} b", **metadata))
    world.add(*items, batch_size=100)
    images = {image.image_id: image for image in world.catalog.images("pictures", limit=1000).items}

    def texts(image: Image, field: str) -> list[Any]:
        if field in ("id", "caption", "uri"):
            return [{"id": image.image_id, "caption": image.caption, "uri": image.uri}[field]]
        value = [value for name, value in image.metadata.items() if same(name, field)]
        return value[0] if value and isinstance(value[0], list) else value

    fields = ["id", "caption", "uri", "w", *spelled("größe")]
    for field in fields:
        for word in draw.sample(WORDS, 3):
            for form in {*spelled(word), word}:
                given = {f"{number}/{form}" for number in range(40)} if field == "id" else {form}
                wanted = {
                    name
                    for name, image in images.items()
                    if any(
                        isinstance(t, str) and any(same(t, one) for one in given) for t in texts(image, field)
                    )
                }
                assert found(world, {"field": field, "in": sorted(given)}) == wanted, (field, form)
                inside = {
                    name
                    for name, image in images.items()
                    if any(contains(t, form) for t in texts(image, field))
                }
                assert found(world, {"field": field, "contains": form}) == inside, (field, form)
                assert (
                    found(world, {"must_not": [{"field": field, "contains": form}]}) == images.keys() - inside
                )
        there = {name for name, image in images.items() if texts(image, field)}
        assert found(world, {"field": field, "exists": True}) == there
        assert found(world, {"field": field, "exists": False}) == images.keys() - there


def contains(text: object, word: str) -> bool:
    """One form of the word is in the text, letters in either case. (``lower`` keeps composed what is so.)"""
    return isinstance(text, str) and any(form.lower() in text.lower() for form in {*spelled(word), word})


def test_an_id_is_found_changed_deleted_and_restored_in_the_other_form(world: World) -> None:
    pairs = [(FORMS, "Größe"), (FORMS[::-1], "각"), (FORMS, "Å"), (FORMS[::-1], "ệ")]
    names = {unicodedata.normalize(stored, word): given for (stored, given), word in pairs}
    world.add(*(item(name, caption="old") for name in names), batch_size=100)
    number = world.collection.id
    for name, given in names.items():
        asked = unicodedata.normalize(given, name)
        assert world.catalog.image("pictures", asked).image_id == name
        assert world.catalog.update_image("pictures", asked, caption="new").image_id == name
        assert world.catalog.image("pictures", name).caption == "new"
        assert world.catalog.delete_images(number, ids=[asked]) == 1
        assert world.catalog.delete_images(number, ids=[asked]) == 0
        with pytest.raises(NotFoundError, match="has no image"):
            world.catalog.image("pictures", asked)
        assert world.catalog.restore_images(number, [asked]).restored == [name]


def test_ids_that_differ_by_their_form_stay_two_images(world: World) -> None:
    composed, decomposed = spelled("é")[::-1]
    world.add(item(composed, "one"), item(decomposed, "two"))
    number = world.collection.id
    for name in (composed, decomposed):
        assert world.catalog.image("pictures", name).image_id == name
    assert found(world, {"field": "id", "equals": composed}) == {composed, decomposed}
    assert world.catalog.delete_images(number, ids=[composed]) == 1
    # Whoever deletes twice does not delete the other, and nobody is shown the other for it.
    assert world.catalog.delete_images(number, ids=[composed]) == 0
    with pytest.raises(NotFoundError):
        world.catalog.image("pictures", composed)
    assert found(world, {}) == {decomposed}
    assert world.catalog.restore_images(number, [composed]).restored == [composed]


def test_an_id_that_could_be_either_of_two_images_is_neither(world: World) -> None:
    angstrom = "\N{ANGSTROM SIGN}"  # a third spelling: both forms of it are others
    world.add(*(item(form) for form in spelled(angstrom)))
    with pytest.raises(NotFoundError):
        world.catalog.image("pictures", angstrom)
    assert world.catalog.delete_images(world.collection.id, ids=[angstrom]) == 0


def test_what_cannot_be_taken_back_takes_ids_as_they_are_stored(world: World) -> None:
    composed, decomposed = spelled("é")[::-1]
    world.add(item(decomposed))
    number = world.collection.id
    assert world.catalog.begin_purge(number, [composed]) == set()
    world.catalog.delete_images(number, ids=[decomposed])
    assert world.catalog.empty_trash(number, [composed]) == []
    assert world.catalog.empty_trash(number, [decomposed]) == [decomposed]


@pytest.mark.parametrize("field", ["caption", pytest.param("w", marks=pytest.mark.long)])
def test_as_many_values_as_allowed_run_in_all_their_forms(world: World, field: str) -> None:
    world.add(item("a", caption="\u1e69", w="\u1e69"))  # ṩ: three spellings
    wide = [f"s\u0323\u0307\u1e61{number}" for number in range(9_999)]
    condition = {"in": [*wide, "s\u0307\u0323"]}
    assert found(world, {"field": field, **condition}) == {"a"}
