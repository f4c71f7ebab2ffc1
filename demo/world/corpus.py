"""Text from which the demo model's tokenizer is learned: the world's sentences and common caption words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from demo.world.sample import full_caption, random_scene, random_sentence
from demo.world.sentences import WORDINGS, Phrase, render, words
from demo.world.things import COLOURS, KINDS, SIZES

_WORDS = Path(__file__).with_name("common_words.txt")
_REPEATS = 30
"""How often a common word comes: enough to become a piece beside some ten thousand world sentences."""


def common_words() -> list[str]:
    """About 1,500 words of everyday photo captions, each once, in a fixed order."""
    lines = [line for line in _WORDS.read_text().splitlines() if not line.startswith("#")]
    return list(dict.fromkeys(word for line in lines for word in line.split()))


def sentences_for_tokenizer(seed: int = 0, count: int = 1000) -> Iterator[str]:
    """World sentences in all wordings (`count` scenes), every phrase of the world, and the common words."""
    rng = Random(seed)
    for _ in range(count):
        scene = random_scene(rng)
        for sentence in (random_sentence(rng, scene), full_caption(scene, rng)):
            yield from (render(sentence, wording) for wording in range(WORDINGS))
    for kind in KINDS:
        for colour in COLOURS:
            for size in SIZES:
                yield words(Phrase(1, colour, kind, size))
                yield words(Phrase(2 + len(colour) % 2, colour, kind, size), 1)
    everyday = common_words()
    for _ in range(_REPEATS):
        rng.shuffle(everyday)
        for start in range(0, len(everyday), 12):
            yield " ".join(everyday[start : start + 12])
