"""Words of texts: letters and digits, whatever their case and accents, and nothing for any parser."""

from __future__ import annotations

import random
import sys

import pytest

from sightline.store.words import MOST_LETTERS, MOST_WORDS, indexed, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A red car, left of a BLUE house.", ["a", "red", "car", "left", "of", "a", "blue", "house"]),
        ("Zoë's café-au-lait", ["zoe", "s", "cafe", "au", "lait"]),
        ("Zoe\u0308 ＺＯＥ", ["zoe", "zoe"]),
        ("Straße ŁÓDŹ", ["strasse", "łodz"]),
        ("IMG_2041.JPG", ["img", "2041", "jpg"]),
        ("猫が好き cat", ["猫", "か", "好", "き", "cat"]),
        (
            'e-mail: a@b.org "NEAR(x y)" OR c:\\d*',
            ["e", "mail", "a", "b", "org", "near", "x", "y", "or", "c", "d"],
        ),
        ("…!? \t", []),
    ],
)
def test_words_are_what_a_person_would_type(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_any_text_at_all_gives_letters_and_digits() -> None:
    draw = random.Random(5)
    for _ in range(200):
        numbers = [
            draw.choice([draw.randrange(1, 300), draw.randrange(1, sys.maxunicode)]) for _ in range(40)
        ]
        text = "".join(map(chr, numbers))
        for word in words_of(text):
            assert word.isalnum()
            assert 0 < len(word) <= MOST_LETTERS


def test_a_text_without_end_is_looked_at_up_to_a_bound() -> None:
    assert len(words_of("word " * 10_000)) == MOST_WORDS
    assert words_of("x" * 10_000) == ["x" * MOST_LETTERS]


def test_the_index_tells_collections_apart_and_has_each_word_once() -> None:
    assert indexed(7, "dog, dog & 7zdog") == "7zdog 7z7zdog"
    assert indexed(77, "dog") == "77zdog"
