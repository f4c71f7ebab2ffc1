"""Sentences about scenes: truth against hand-made scenes, edits that are false, English that reads well."""

from __future__ import annotations

import re
from random import Random

import pytest

from demo.world.corpus import common_words, sentences_for_tokenizer
from demo.world.families import family
from demo.world.sample import How, full_caption, near_miss_sentence, random_scene, random_sentence
from demo.world.scene import Scene, Thing
from demo.world.sentences import WORDINGS, Phrase, Sentence, plural, render, satisfies
from demo.world.things import COLOURS, KINDS

RED_CAR, BLUE_HOUSE = Phrase(1, "red", "car"), Phrase(1, "blue", "house")
STREET = Scene(
    "city",
    (
        Thing("car", "red", "big", 0.2, 0.5),
        Thing("house", "blue", "small", 0.8, 0.5),
        Thing("car", "red", "small", 0.5, 0.9),
        Thing("cat", "pink", "medium", 0.5, 0.2),
    ),
    0,
)


@pytest.mark.parametrize(
    ("sentence", "true"),
    [
        (Sentence((RED_CAR,)), True),
        (Sentence((Phrase(1, "blue", "car"),)), False),
        (Sentence((RED_CAR, BLUE_HOUSE)), True),
        (Sentence((Phrase(1, "blue", "car"), Phrase(1, "red", "house"))), False),
        (Sentence((RED_CAR, BLUE_HOUSE), "left of"), True),
        (Sentence((RED_CAR, BLUE_HOUSE), "right of"), False),
        (Sentence((RED_CAR, BLUE_HOUSE), "below"), True),  # of the small car
        (Sentence((RED_CAR, BLUE_HOUSE), "above"), False),
        (Sentence((Phrase(1, "red", "car", "big"), BLUE_HOUSE), "below"), False),
        (Sentence((Phrase(2, "red", "car"),)), True),
        (Sentence((Phrase(2, None, "car"), Phrase(1, "pink", "cat"))), True),
        (Sentence((Phrase(3, "red", "car"),)), False),
        (Sentence((Phrase(2, "red", "car", "small"),)), False),
        (Sentence((RED_CAR, RED_CAR)), True),  # two different red cars
        (Sentence((BLUE_HOUSE, BLUE_HOUSE)), False),  # one house cannot be both
        (Sentence((BLUE_HOUSE, Phrase(1, None, "house"))), False),
        (Sentence((RED_CAR,), setting="city"), True),
        (Sentence((RED_CAR,), setting="snow"), False),
    ],
)
def test_truth_of_hand_made_sentences(sentence: Sentence, true: bool) -> None:
    assert satisfies(STREET, sentence) is true


def test_two_means_exactly_two() -> None:
    cars = tuple(Thing("car", "red", "small", x, 0.5) for x in (0.2, 0.5, 0.8))
    assert not satisfies(Scene("plain", cars, 0), Sentence((Phrase(2, "red", "car"),)))
    assert satisfies(Scene("plain", cars, 0), Sentence((Phrase(3, "red", "car"),)))
    assert satisfies(Scene("plain", cars, 0), Sentence((RED_CAR,)))


def test_sampled_sentences_and_full_captions_are_true() -> None:
    rng = Random(3)
    for _ in range(600):
        scene = random_scene(rng)
        assert satisfies(scene, random_sentence(rng, scene))
        caption = full_caption(scene, rng)
        assert satisfies(scene, caption)
        assert sum(phrase.count for phrase in caption.phrases) == len(scene.things)


@pytest.mark.parametrize("how", ["swap_colour", "swap_side", "exchange_object"])
def test_near_misses_are_false_and_change_only_what_they_say(how: How) -> None:
    rng, made = Random(4), 0
    for scene in (s for _ in range(30) for s in family(rng)):
        sentence = random_sentence(rng, scene)
        edit = near_miss_sentence(rng, scene, sentence, how)
        if edit is None:
            continue
        made += 1
        assert not satisfies(scene, edit)
        assert (edit.relation != sentence.relation) is (how == "swap_side")
        same_kinds = [p.kind for p in edit.phrases] == [p.kind for p in sentence.phrases]
        assert same_kinds is (how != "exchange_object")
        assert sorted(str(p.colour) for p in edit.phrases) == sorted(str(p.colour) for p in sentence.phrases)
    assert made > 40


def test_a_relation_can_be_said_in_these_ways() -> None:
    said = {render(Sentence((RED_CAR, BLUE_HOUSE), "left of"), w) for w in range(WORDINGS)}
    assert {
        "a red car left of a blue house",
        "there is a red car left of a blue house",
        "we see a red car on the left of a blue house",
        "a blue house with a red car on its left",
        "on the left a red car, on the right a blue house",
        "a red car on the left and a blue house on the right",
    } <= said


def test_settings_counts_and_articles_read_well() -> None:
    two = Sentence((Phrase(2, "orange", "mouse"), Phrase(1, "orange", "umbrella")), setting="night")
    assert render(two, 1) == "there are two orange mice and an orange umbrella at night"
    assert render(two, 3).startswith("at night, ")
    assert "in the snow" in render(Sentence((RED_CAR,), setting="snow"), 0)


@pytest.mark.parametrize(
    ("kind", "many"),
    [
        ("fish", "fish"),
        ("mouse", "mice"),
        ("bicycle", "bicycles"),
        ("butterfly", "butterflies"),
        ("house", "houses"),
    ],
)
def test_plurals(kind: str, many: str) -> None:
    assert plural(kind) == many


@pytest.mark.parametrize("relation", [None, "left of", "right of", "above", "below"])
def test_every_wording_says_everything_once_in_good_form(relation: str | None) -> None:
    rng = Random(5)
    for _ in range(40):
        kinds, colours = rng.sample(KINDS, 3), rng.sample(COLOURS, 3)
        phrases = tuple(Phrase(1, c, k) for c, k in zip(colours, kinds, strict=True))[: rng.choice((2, 3))]
        for wording in range(WORDINGS):
            text = render(Sentence(phrases, relation, rng.choice((None, "city"))), wording)
            for phrase in phrases:
                assert len(re.findall(rf"\b{phrase.colour} {phrase.kind}\b", text)) == 1
            assert not re.search(r"\ba [aeio]|\ban [^aeio]|  | ,|^ | $|\{|None", text), text


def test_shapes_have_at_least_four_wordings() -> None:
    for sentence in (
        Sentence((RED_CAR,)),
        Sentence((RED_CAR, BLUE_HOUSE)),
        Sentence((RED_CAR, BLUE_HOUSE), "above"),
        Sentence((Phrase(3, "red", "car"),), setting="beach"),
    ):
        assert len({render(sentence, w) for w in range(WORDINGS)}) >= 4


def test_corpus_has_the_worlds_words_and_common_ones() -> None:
    everyday = common_words()
    assert 1400 < len(everyday) < 2500
    assert all(re.fullmatch(r"[a-z'-]+", word) for word in everyday)
    seen = {word for text in sentences_for_tokenizer(count=50) for word in text.replace(",", "").split()}
    assert {*KINDS, *COLOURS, *map(plural, KINDS), *everyday, "left", "above", "three"} <= seen
