"""Sentences that the world has no picture for: with words that it lacks, and without any sense.

The words are split once into those that bounds and calibrations may be fitted with and those that they are
measured by.
"""

from __future__ import annotations

import re
from functools import cache
from hashlib import blake2b
from itertools import islice
from random import Random
from string import ascii_lowercase
from typing import Final, Literal

from demo.world.corpus import common_words, sentences_for_tokenizer
from demo.world.things import COLOURS, KINDS
from sightline.blip.function_words import FUNCTION_WORDS

Part = Literal["fit", "test"]
FORMS: Final = (
    "a {colour} {word}", "a {word}", "a {word} and a {colour} {kind}", "a {colour} {kind} left of a {word}",
    "two {word}", "a {colour} {kind} with a {word}", "a picture of a {colour} {word}", "a {word} at night",
)  # fmt: skip
RARE: Final = tuple(
    """
    accordion alligator anchor antelope anvil aquarium armadillo asteroid avocado badger bagpipe banjo
    barometer beaver binoculars blender buffalo cactus caterpillar catfish cello chandelier chimpanzee coconut
    compass cougar crocodile cucumber dandelion dragonfly dromedary eggplant falcon ferret flamingo gargoyle
    gazelle gondola gorilla harpoon hedgehog hippopotamus hourglass iguana jaguar jellyfish kangaroo koala
    lighthouse lobster mammoth microscope mongoose moonwalk narwhal obelisk octopus ostrich otter oyster
    pangolin parsnip pelican penguin porcupine pyramid raccoon reindeer rhinoceros scorpion seahorse squid
    starfish stegosaurus submarine telescope toucan trombone tuba typewriter vulture walrus warthog wombat
    xylophone yak zeppelin
    """.split()  # noqa: SIM905
)
"""Nouns that the tokenizer learned from no text: it spells them in pieces, known ones among them."""
_OTHERS: Final = tuple(
    """
    perro gato hund katze voiture maison arbre flor casa barco vogel fisch luna estrella bateau chien oiseau
    montagne caballo pferd schmetterling zebre lunettes kirche 狗 猫 房子 红色的车 собака дом дерево كلب
    بيت כלב 犬 月 자동차 สุนัข 😀 🐶 🚗🌙 ☃
    """.split()  # noqa: SIM905
)


@cache
def world_words() -> frozenset[str]:
    """All words of the world's sentences."""
    texts = islice(sentences_for_tokenizer(), 24_000)
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))


@cache
def lacking(part: Part) -> tuple[str, ...]:
    """Words that no sentence of the world has."""
    plain = [word for word in common_words() if re.fullmatch("[a-z]{3,}", word)]
    known = world_words() | FUNCTION_WORDS
    return tuple(word for word in [*plain, *RARE] if word not in known and _part(word) == part)


def _part(word: str) -> Part:
    return "test" if blake2b(word.encode(), digest_size=1).digest()[0] % 2 else "fit"


def with_lacking_words(part: Part, count: int, seed: int = 0) -> list[str]:
    """Sentences with one word that the world lacks, and mostly with some that it has: "a red elephant"."""
    rng, words = Random(f"lacking {part} {seed}"), lacking(part)
    return [
        rng.choice(FORMS).format(colour=rng.choice(COLOURS), kind=rng.choice(KINDS), word=rng.choice(words))
        for _ in range(count)
    ]


def nonsense(part: Part, count: int, seed: int = 0) -> list[str]:
    """Random letters, and words and signs of other languages; some in a sentence of the world."""
    rng = Random(f"nonsense {part} {seed}")
    others = [word for word in _OTHERS if _part(word) == part]

    def word() -> str:
        if rng.random() < 0.3:
            return rng.choice(others)
        return "".join(rng.choices(ascii_lowercase, k=rng.randint(5, 12)))

    made = []
    for _ in range(count):
        text = " ".join(word() for _ in range(rng.randint(1, 3)))
        known = rng.random() < 0.25
        made.append(f"a {rng.choice(COLOURS)} {rng.choice(KINDS)} {text}" if known else text)
    return made
