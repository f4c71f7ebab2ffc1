"""Captions as the web has them: of some pictures they are another's, of some wrong in one attribute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import Literal

from demo.world.sample import random_sentence
from demo.world.scene import Scene
from demo.world.sentences import Phrase, Sentence, render, satisfies
from demo.world.splits import scenes
from demo.world.things import COLOURS, KINDS

Wrong = Literal["right", "swapped", "attribute"]


@dataclass(frozen=True)
class Captioned:
    """A scene with the sentence that came with it; ``wrong`` says how it lies, if it does."""

    scene: Scene
    sentence: Sentence
    text: str
    wrong: Wrong


def captioned(split: str, seed: int, count: int, share: float = 0.3) -> list[Captioned]:
    """Scenes of one split, a ``share`` of their captions corrupted.

    Half of these are another scene's sentence, half differ in one attribute (a colour or a kind of thing).
    What is called wrong is false of its scene.
    """
    rng = Random(f"captioned {split} {seed}")
    found = list(islice(scenes(split, seed), count))
    true = [random_sentence(rng, scene) for scene in found]
    wrongs = _shuffled(rng, count, share)
    told = [
        sentence if wrong == "right" else _corrupted(rng, found, true, row, wrong)
        for row, (sentence, wrong) in enumerate(zip(true, wrongs, strict=True))
    ]
    return [
        Captioned(scene, sentence, render(sentence, rng.randrange(12)), wrong)
        for scene, sentence, wrong in zip(found, told, wrongs, strict=True)
    ]


def _shuffled(rng: Random, count: int, share: float) -> list[Wrong]:
    wrong = round(count * share)
    numbers: dict[Wrong, int] = {
        "swapped": wrong // 2,
        "attribute": wrong - wrong // 2,
        "right": count - wrong,
    }
    kinds = [kind for kind, number in numbers.items() for _ in range(number)]
    rng.shuffle(kinds)
    return kinds


def _corrupted(
    rng: Random, found: Sequence[Scene], true: Sequence[Sentence], row: int, wrong: Wrong
) -> Sentence:
    """Of a thousand tries the first that is false of the scene."""
    scene = found[row]
    tries = _others(rng, true) if wrong == "swapped" else _changed(rng, true[row])
    return next(one for one in islice(tries, 1000) if not satisfies(scene, one))


def _others(rng: Random, true: Sequence[Sentence]) -> Iterator[Sentence]:
    while True:
        yield rng.choice(true)


def _changed(rng: Random, sentence: Sentence) -> Iterator[Sentence]:
    """One phrase with another colour, or of another kind."""
    while True:
        at = rng.randrange(len(sentence.phrases))
        phrases = list(sentence.phrases)
        phrases[at] = _another(rng, phrases[at])
        yield replace(sentence, phrases=tuple(phrases))


def _another(rng: Random, phrase: Phrase) -> Phrase:
    if phrase.colour is not None and rng.random() < 0.5:
        return replace(phrase, colour=rng.choice([one for one in COLOURS if one != phrase.colour]))
    return replace(phrase, kind=rng.choice([one for one in KINDS if one != phrase.kind]))
