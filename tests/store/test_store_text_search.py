"""Full-text search over texts: the same on both databases, as worked out here, whatever the query is."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from sightline.store.filters import parse_filter
from sightline.store.text_records import NewText
from sightline.store.words import words_of
from tests.store.catalog_world import World, emptied, item, opened
from tests.store.test_store_texts import written

VOCABULARY = ["boat", "Boot", "café", "cafe", "kite", "x1", "猫", "don't", "of", "straße", "NEAR", "a.b", "Ω"]


@pytest.fixture(scope="module")
def shared(module_catalog_url: str) -> Iterator[World]:
    with opened(module_catalog_url) as world:
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    with emptied(shared) as world:
        yield world


def found(world: World, query: str, limit: int = 100) -> list[str]:
    names = {key: name for name, key in world.live().items()}
    return [names[hit.key] for hit in world.catalog.search_texts(world.collection.id, query, limit)]


def captions(world: World, *texts: str) -> None:
    world.add(*(item(f"{n:02d}", caption=text) for n, text in enumerate(texts)), batch_size=100)


def worth(texts: list[str], query: str) -> list[tuple[float, str]]:
    """The definition, word by word; of images with one text each, when no word is common."""
    asked = set(words_of(query))
    has = {word: sum(word in words_of(text) for text in texts) for word in asked}
    scores = [sum(1 / has[word] for word in asked & set(words_of(text))) for text in texts]
    ordered = sorted(range(len(texts)), key=lambda n: (-round(scores[n], 12), n))
    return [(scores[n], f"{n:02d}") for n in ordered if scores[n]]


def test_random_texts_are_found_as_worked_out_by_hand(world: World) -> None:
    draw = random.Random(11)
    texts = [" ".join(draw.sample(VOCABULARY, draw.randint(0, 4))) for _ in range(20)]
    captions(world, *texts)
    for _ in range(25):
        query = draw.choice([" ", ", ", '" OR "', "* -"]).join(draw.choices(VOCABULARY, k=draw.randint(1, 4)))
        expected = worth(texts, query)
        hits = world.catalog.search_texts(world.collection.id, query, 100)
        assert [hit.rank_score for hit in hits] == pytest.approx([score for score, _ in expected])
        assert found(world, query) == [name for _, name in expected]


@pytest.mark.parametrize(
    "query",
    [
        "", " ", "\x00", '"', "'", "'; DROP TABLE texts; --", "a OR b", "NEAR(a b, 3)", "words : a", "^a",
        "-a", "a*", "!a & (b | c)", "<->", ":*", "\\", "\ud800", "{}", "a" * 100_000, "b " * 50_000, "%", "_",
    ],
)  # fmt: skip
def test_no_query_has_any_syntax(world: World, query: str) -> None:
    captions(world, "one", "two")
    assert found(world, query) == []
    assert found(world, f"{query} TWO") in (["01"], [])
    assert world.catalog.check() == []


def test_a_rare_name_in_a_long_sentence_comes_first(world: World) -> None:
    captions(
        world,
        *(f"a man with the dog on a beach in summer {n}" for n in range(60)),
        "Karl Jaspersen, portrait",
    )
    query = "please show me the man with a dog on the beach in the summer with Jaspersen and all the others"
    assert found(world, query)[0] == "60"


def test_words_that_most_have_are_passed_over_unless_there_are_no_others(world: World) -> None:
    captions(world, *(f"the boat {'red' if n % 2 else 'blue'}" for n in range(50)), "a kite")
    assert found(world, "the boat kite") == ["50"]
    assert found(world, "the red boat", 100)[:3] == ["01", "03", "05"]
    assert set(found(world, "the blue boat")) <= {f"{n:02d}" for n in range(0, 50, 2)}


def test_only_live_images_of_the_collection_with_kept_words_are_found(world: World) -> None:
    captions(world, "kite one", "kite two", "kite three", "kite four")
    world.job(item("pending", caption="kite five"))
    other = world.catalog.create_collection(
        "other", model="toy", revision=None, fingerprint="f1", num_query_tokens=4, joint_dim=8
    )
    job = world.catalog.create_job(other.id, "index", {})
    world.catalog.register(job.id, [item("else", caption="kite six")], batch_size=1)
    assert found(world, "KITE") == ["00", "01", "02", "03"]
    live, number = world.live(), world.collection.id
    assert written(world, NewText(live["01"], "given", "kite two", verdict="dropped", judge="j"))
    world.catalog.delete_images(number, ids=["02"])
    assert found(world, "kite") == ["00", "03"]
    world.catalog.restore_images(number, ["02"])
    [text] = world.catalog.texts_of([live["01"]])[live["01"]]
    world.catalog.overrule_text(number, text.id, "kept")
    assert found(world, "kite") == ["00", "01", "02", "03"]
    world.catalog.delete_collection("other")


def test_an_image_comes_once_with_the_best_of_its_texts(world: World) -> None:
    captions(world, "a kite", "a boat")
    key = world.live()["01"]
    texts = [NewText(key, "captioner", text, "m") for text in ("kite and boat", "a kite above a red boat")]
    assert written(world, *texts)
    hits = world.catalog.search_texts(world.collection.id, "red kite", 10)
    assert [(hit.key, hit.text) for hit in hits] == [
        (key, "a kite above a red boat"), (world.live()["00"], "a kite"),
    ]  # fmt: skip


def test_a_filter_holds_for_what_words_bring_however_many_are_better(world: World) -> None:
    world.add(
        *(item(f"{n:02d}", caption=f"kite {'rare' if n < 15 else ''}", year=n) for n in range(18)),
        batch_size=9,
    )
    wanted = parse_filter({"must": [{"field": "metadata.year", "range": {"gte": 16}}]})
    hits = world.catalog.search_texts(world.collection.id, "rare kite", 2, wanted)
    assert [hit.key for hit in hits] == [world.live()["16"], world.live()["17"]]
