"""Which words a model knows: by what its tokenizer can spell, and by what its weights show of training."""

from __future__ import annotations

import pytest

from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.calibrated import words_read
from sightline.blip.checkpoint import DEMO_FOLDER
from sightline.blip.checkpoint_words import read_calibration
from sightline.blip.known_words import KnownWords, UnlikeNonsense, WordsRead
from sightline.errors import InputError

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"

SPELLED = {
    "a red 狗": ("狗",),
    "北京 and a house": ("北京",),
    "two cats 😀": ("😀",),
    f"{FAMILY} a cat 😀 {FAMILY}": (FAMILY, "😀"),
    "x" * 600: ("x" * 600,),
    "שלום a car": ("שלום",),
    "كِتَاب": ("كِتَاب",),
    "नमस्ते house": ("नमस्ते",),
    "a red elephant, perro asdfghjkl": (),
    "cafe\u0301 — “a cat”…": (),
    "[UNK] [SEP] <image>": (),
    "\u0301": (),
}
"""Without a sign of what was learned: what cannot be spelled, as it was written."""
LEARNED = {
    "a red elephant": ("elephant",),
    "A RED Elephant, an elephant": ("Elephant", "elephant"),
    "perro asdfghjkl": ("perro", "asdfghjkl"),
    "a caf\u00e9 with a cat": ("caf\u00e9",),
    "cafe\u0301": ("cafe\u0301",),
    "is there a dog's house without any cats, which isn't blue?": (),
    "a photo of the red car on the left": (),
    "a starfish": ("starfish",),
    "a cat and a 狗": ("狗",),
    "2 cats": ("2",),
    "the of": (),
}
NOTHING = ("perro", "狗", "😀", "a dromedary!", "x" * 600, "the zebra of the zoo", "xqzt 狗")
SOMETHING = ("a red elephant", "the", "cats", "", "… — !", "a photo")


@pytest.fixture(scope="module")
def demo() -> Blip2:
    model = load("demo", device="cpu")
    assert isinstance(model, Blip2)
    return model


@pytest.mark.parametrize(("text", "unknown"), SPELLED.items())
def test_what_no_piece_spells_is_unknown(demo: Blip2, text: str, unknown: tuple[str, ...]) -> None:
    assert KnownWords(demo.tokenizer).read(text).unknown == unknown


@pytest.mark.parametrize(("text", "unknown"), LEARNED.items())
def test_what_training_never_touched_is_unknown(demo: Blip2, text: str, unknown: tuple[str, ...]) -> None:
    assert demo.words_read(text).unknown == unknown


def test_likeness_to_nonsense_shows_the_same_words_without_the_word_embedding(demo: Blip2) -> None:
    most = read_calibration(DEMO_FOLDER).most_like_nonsense
    assert most is not None
    known = KnownWords(demo.tokenizer, UnlikeNonsense(demo.encode_text, most))
    for text, unknown in LEARNED.items():
        if "starfish" not in text:  # star + fish: a word of two that it knows
            assert known.read(text).unknown == unknown


def test_nothing_is_known_where_no_word_that_says_something_is(demo: Blip2) -> None:
    assert [text for text in NOTHING if not demo.words_read(text).nothing_known] == []
    assert [text for text in SOMETHING if demo.words_read(text).nothing_known] == []


def test_a_model_that_says_nothing_of_words_knows_them_all() -> None:
    assert words_read(object(), "狗") == WordsRead()


def test_half_a_surrogate_pair_is_refused_as_everywhere(demo: Blip2) -> None:
    with pytest.raises(InputError, match="not valid Unicode"):
        demo.words_read("a \ud83d cat")
