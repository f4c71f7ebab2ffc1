"""The filter language: one meaning in SQL on both databases, and one clear sentence for what is none."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from sightline.errors import FilterError
from sightline.store.filters import parse_filter
from sightline.store.records import Image
from sightline.store.work_records import Registration
from tests.store.catalog_world import World, emptied, item, opened

# An independent reading of the language: written from its description, over plain Python values.


def holds(image: Image, filter: dict[str, Any]) -> bool:
    if "field" in filter:
        return condition_holds(image, filter)
    return (
        all(holds(image, clause) for clause in filter.get("must", []))
        and (not filter.get("should") or any(holds(image, clause) for clause in filter["should"]))
        and not any(holds(image, clause) for clause in filter.get("must_not", []))
    )


def value_of(image: Image, name: str) -> Any:
    if name == "id":
        return image.image_id
    if name in {"caption", "uri", "sha256", "width", "height", "bytes", "created_at"}:
        return getattr(image, name)
    value: Any = image.metadata
    for part in (name[len("metadata.") :] if name.startswith("metadata.") else name).split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "flag"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "none"


def condition_holds(image: Image, condition: dict[str, Any]) -> bool:
    value = value_of(image, condition["field"])
    if "exists" in condition:
        return (value is not None) is condition["exists"]
    elements = value if isinstance(value, list) else [value]
    return any(element_fits(element, condition) for element in elements)


def element_fits(element: Any, condition: dict[str, Any]) -> bool:
    if "contains" in condition:
        return isinstance(element, str) and condition["contains"].lower() in element.lower()
    if "range" in condition:
        return all(
            kind_of(element) == kind_of(bound)
            and {
                "gt": element > bound,
                "gte": element >= bound,
                "lt": element < bound,
                "lte": element <= bound,
            }[name]
            if kind_of(element) == kind_of(bound)
            else False
            for name, bound in condition["range"].items()
        )
    values = condition["in"] if "in" in condition else [condition["equals"]]
    return any(kind_of(element) == kind_of(value) and element == value for value in values)


# random data that provoke confusion: "1" and 1 and true, lists, objects, nulls, missing

SCALARS: list[Any] = [
    0,
    1,
    2,
    -3,
    1.0,
    1.5,
    0.1,
    1e300,
    2**53 + 1,
    float(2**53),
    "1",
    "",
    "true",
    "Abc",
    "aBC d",
]
SCALARS += [
    True,
    False,
    "é",
    "É",
    "straße",
    "Σ",
    "σ",
    "100%",
    "a_b",
    "[x]",
    "^",
    "*?",
    "b\\c",
    'q"q',
    "ж",
    "日本",
]
NAMES = ["a", "b", "tags", "n.x", "n.y", "ünï code", "0"]
TEXT_NAMES = ["id", "caption", "uri"]
NUMBER_NAMES = ["width", "height", "bytes", "created_at"]


def random_value(draw: random.Random) -> Any:
    kind = draw.random()
    if kind < 0.6:
        return draw.choice(SCALARS)
    if kind < 0.85:
        return [draw.choice([*SCALARS, None, ["nested"], {"x": 1}]) for _ in range(draw.randrange(4))]
    return draw.choice([None, {"x": draw.choice(SCALARS)}, {}])


def random_registration(draw: random.Random, number: int) -> Registration:
    metadata = {
        name: random_value(draw) for name in ("a", "b", "tags", "ünï code", "0") if draw.random() < 0.7
    }
    if draw.random() < 0.7:
        metadata["n"] = {name: random_value(draw) for name in "xy" if draw.random() < 0.7}
    caption = draw.choice([None, "A red Car", "ein Boot, Größe 3", "", "İstanbul", "kelvin"])
    name = draw.choice(["IMG", "img", "Ördner/é", "a[b]", "x"])
    return Registration(f"{name}_{number}", "0" * 64, f"/p/{number % 7}", number, caption, metadata)


def random_condition(draw: random.Random) -> dict[str, Any]:
    kind = draw.random()
    if kind < 0.2:
        return text_condition(draw, draw.choice(TEXT_NAMES))
    if kind < 0.35:
        return {"field": draw.choice(NUMBER_NAMES), **number_operator(draw)}
    name = draw.choice(["", "metadata."]) + draw.choice(NAMES)
    operator = draw.randrange(5)
    if operator == 0:
        return {"field": name, "equals": draw.choice(SCALARS)}
    if operator == 1:
        return {"field": name, "in": [draw.choice(SCALARS) for _ in range(draw.randrange(4))]}
    if operator == 2:
        return {"field": name, "exists": draw.random() < 0.5}
    if operator == 3 and draw.random() < 0.5:
        return {"field": name, **number_operator(draw)}
    return text_condition(draw, name)


def number_operator(draw: random.Random) -> dict[str, Any]:
    numbers = [0, 1, 40, 2.5, 1.0, 0.1, -3, 2**53, 2**53 + 1, 1e300, 999.5, 1000]
    if draw.random() < 0.3:
        return {"equals": draw.choice(numbers)}
    names = draw.sample(["gt", "gte", "lt", "lte"], draw.randint(1, 2))
    return {"range": {name: draw.choice(numbers) for name in names}}


def text_condition(draw: random.Random, name: str) -> dict[str, Any]:
    texts = [value for value in SCALARS if isinstance(value, str)] + [
        "img_1",
        "CAR",
        "größe",
        "[B]",
        "_",
        "IMG_12",
    ]
    kind = draw.random()
    if kind < 0.6:
        return {"field": name, "contains": draw.choice([text for text in texts if text])}
    if kind < 0.8:
        return {"field": name, "range": {draw.choice(["gt", "gte", "lt", "lte"]): draw.choice(texts)}}
    return {"field": name, "in": draw.sample(texts, 3)}


def random_filter(draw: random.Random, depth: int = 2) -> dict[str, Any]:
    if depth == 0 or draw.random() < 0.4:
        return random_condition(draw)
    names = draw.sample(["must", "should", "must_not"], draw.randint(1, 3))
    return {name: [random_filter(draw, depth - 1) for _ in range(draw.randrange(3))] for name in names}


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_random_filters_mean_on_random_images_what_plain_python_says(world: World, seed: int) -> None:
    draw = random.Random(seed)
    world.add(*(random_registration(draw, number) for number in range(120)), batch_size=120)
    images = world.catalog.images("pictures", limit=1000).items
    sizes = set()
    for _ in range(150):
        written = random_filter(draw)
        found = world.catalog.filter_keys(world.collection.id, parse_filter(written)).tolist()
        assert found == [image.key for image in images if holds(image, written)], written
        sizes.add(len(found))
    assert len(sizes) > 20  # the filters were neither all empty nor all full


def test_every_scalar_equals_itself_and_nothing_else(world: World) -> None:
    values = [value for value in SCALARS if not isinstance(value, float) or not value.is_integer()]
    world.add(*(item(f"{number}", v=value) for number, value in enumerate(values)), batch_size=100)
    for number, value in enumerate(values):
        keys = world.catalog.filter_keys(world.collection.id, parse_filter({"field": "v", "equals": value}))
        assert keys.tolist() == [world.live()[f"{number}"]], value


def test_letters_match_in_either_case_where_a_database_knows_only_ascii(world: World) -> None:
    texts = ["ÄRGER", "ärger", "ΣΙΓΜΑ", "Жук", "plain", "\N{KELVIN SIGN}", "İ"]
    world.add(*(item(text, caption=text) for text in texts))
    for needle, expected in [
        ("ärg", {"ÄRGER", "ärger"}),
        ("ΓΜΑ", {"ΣΙΓΜΑ"}),
        ("σι", {"ΣΙΓΜΑ"}),
        ("жУ", {"Жук"}),
        ("k", {"\N{KELVIN SIGN}"}),
        ("İ", {"İ"}),
    ]:
        page = world.catalog.images("pictures", filter=parse_filter({"field": "caption", "contains": needle}))
        assert {image.image_id for image in page.items} == expected, needle


@pytest.mark.parametrize(
    "attack", ["x' OR '1'='1", "'; DROP TABLE images; --", '$."a"', "%s", ":name", "?", "a) OR (1"]
)
def test_no_text_of_a_filter_becomes_sql(world: World, attack: str) -> None:
    world.add(item("a", x=attack), item("b"))
    for written in [
        {"field": "id", "equals": attack},
        {"field": "id", "contains": attack},
        {"field": "caption", "range": {"lt": attack}},
        {"field": attack.replace('"', ""), "equals": 1},
    ]:
        assert world.catalog.filter_keys(world.collection.id, parse_filter(written)).size == 0
    found = world.catalog.filter_keys(world.collection.id, parse_filter({"field": "x", "equals": attack}))
    assert found.tolist() == [world.live()["a"]]


def test_a_filter_as_large_as_allowed_runs(world: World) -> None:
    world.add(item("a", n=1))
    wide = {"field": "n", "in": list(range(5_000))}
    many = {"should": [{"field": f"metadata.f{number}", "equals": number} for number in range(99)]}
    deep: dict[str, Any] = wide
    for _ in range(6):
        deep = {"must": [deep]}
    for written in (wide, {"must": [wide, {"must_not": [many]}]}, deep):
        assert world.catalog.filter_keys(world.collection.id, parse_filter(written)).size == 1


def test_names_and_texts_of_several_forms_are_as_many_as_allowed(world: World) -> None:
    """Three forms of each name times three of each text: more than the parameters that a database takes."""
    mixed = "e\u0301é"
    world.add(item("a", **{mixed: f"{mixed}7"}), item("b", **{mixed: "7"}))
    written = {"field": mixed, "in": [f"{mixed}{number}" for number in range(10_000)]}
    page = world.catalog.images("pictures", filter=parse_filter(written))
    assert [image.image_id for image in page.items] == ["a"]


def test_the_empty_filter_fits_every_image(world: World) -> None:
    world.add(item("a"), item("b"))
    assert world.catalog.filter_keys(world.collection.id, parse_filter({})).size == 2


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (None, "A filter is a JSON object, not null"),
        ([], "A filter is a JSON object, not a list"),
        ({"musst": []}, "must, should and must_not, or field for a condition; not 'musst'"),
        ({"must": "x"}, "'must' is a list of conditions, not a text"),
        ({"must": [1]}, "A filter is a JSON object, not a number"),
        ({"field": "a"}, "needs exactly one of equals, in, range, exists, contains; it has none"),
        ({"field": "a", "equals": 1, "in": [1]}, "it has 'equals', 'in'"),
        ({"field": "a", "eq": 1}, "it has 'eq'"),
        ({"field": 3, "equals": 1}, "A field is named by a text, not a number"),
        ({"field": "", "equals": 1}, "A field is named by a text, not an empty text"),
        ({"field": "metadata", "equals": 1}, "Name a field of the metadata"),
        ({"field": "a..b", "equals": 1}, "has an empty part"),
        ({"field": 'a"b', "equals": 1}, "a quote, a backslash or a control character"),
        ({"field": "a\udc00", "equals": 1}, "not valid Unicode"),
        ({"field": "a", "equals": None}, 'cannot be compared with null: use "exists": false'),
        ({"field": "a", "equals": [1]}, "compared with text, number or true/false, not with a list"),
        ({"field": "a", "equals": float("nan")}, "cannot be compared with nan"),
        ({"field": "a", "equals": 2**63}, "an integer beyond 64 bits"),
        ({"field": "a", "equals": "x\x00"}, "NUL"),
        ({"field": "width", "equals": "40"}, "'width' is a number: it cannot be compared with a text"),
        ({"field": "caption", "in": [True]}, "'caption' is a text: it cannot be compared with true"),
        ({"field": "a", "in": 1}, "'in' takes a list of values for 'a', not a number"),
        ({"field": "a", "range": {}}, "'range' takes an object with some of gt, gte, lt, lte"),
        ({"field": "a", "range": {"above": 1}}, "'range' takes an object with some of gt, gte, lt, lte"),
        ({"field": "a", "range": {"gt": True}}, "cannot have true as a bound"),
        ({"field": "a", "range": {"gt": 1, "lt": "b"}}, "mixes text and numbers"),
        (
            {"field": "a", "range": {"gt": "2026-01-01T00:00:00Z", "lt": "2027"}},
            "time and zone with other text",
        ),
        ({"field": "a", "exists": 1}, "'exists' takes true or false for 'a', not a number"),
        ({"field": "a", "contains": ""}, "'contains' takes a text for 'a', not an empty text"),
        ({"field": "bytes", "contains": "1"}, "'bytes' is a number: it contains no text"),
        ({"field": "a", "contains": "x" * 1001}, "at most 1,000 characters"),
        ({"should": [{"field": "a", "equals": 1}] * 101}, "at most 100 conditions, not 101"),
        ({"field": "a", "in": [0] * 10_001}, "at most 10,000 values, not 10,001"),
    ],
    ids=range(33),
)
def test_what_is_no_filter_is_refused_in_one_sentence(written: Any, sentence: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(written)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nesting_has_an_end() -> None:
    written: dict[str, Any] = {"field": "a", "equals": 1}
    for _ in range(2_000):
        written = {"must": [written]}
    with pytest.raises(FilterError, match="nest at most 8 levels"):
        parse_filter(written)


def test_equal_filters_are_equal_keys() -> None:
    written = {"must": [{"field": "a", "in": [1, "x"]}], "must_not": {"field": "b", "exists": True}}
    assert hash(parse_filter(written)) == hash(parse_filter(written))
    assert parse_filter(written) == parse_filter(written)


@pytest.mark.parametrize(("flag", "number"), [(True, 1), (False, 0), (True, 1.0)])
def test_a_flag_and_its_number_are_different_keys(flag: bool, number: float) -> None:
    by_flag, by_number = ({"must_not": [{"field": "a", "equals": value}]} for value in (flag, number))
    assert parse_filter(by_flag) != parse_filter(by_number)


@pytest.mark.parametrize("written", ["yesterday", "2026-11-23", "2026-11-23T22:40:00", ""])
def test_a_moment_without_its_zone_is_refused(written: str) -> None:
    with pytest.raises(FilterError, match=r"such as 2026-11-23T22:40:00Z"):
        parse_filter({"field": "created_at", "equals": written})
