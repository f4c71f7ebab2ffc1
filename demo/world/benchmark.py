"""What the demo model is judged by: pictures and sentences of the test split, relevance from the scenes."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from random import Random

import numpy as np
from numpy.typing import NDArray

from demo.world.families import Plan, plan_family, scenes_of
from demo.world.sample import How, near_miss_sentence, random_sentence
from demo.world.scene import Scene
from demo.world.sentences import Phrase, Sentence, render, satisfies
from demo.world.splits import families, plan_key, split_of_key
from demo.world.things import COLOURS, KINDS

HOWS: tuple[How, ...] = ("swap_colour", "swap_side", "exchange_object")
MOST_RELEVANT = 3
LEAST_NEAR_MISSES = 5
_RESERVED = 32
_SHAPES = {"pair": 4.0, "relation": 4.0, "count": 2.0, "triple": 1.5, "single": 0.5}
Triple = tuple[Scene, Sentence, Sentence]
"""A scene, a sentence that is true of it and one that is false of it."""


class SceneIndex:
    """Finds the scenes a sentence is true of without testing every one."""

    def __init__(self, scenes: list[Scene]) -> None:
        self.scenes = scenes
        self._kinds = [frozenset(t.kind for t in s.things) for s in scenes]
        self._colours = [frozenset(t.colour for t in s.things) for s in scenes]
        self._with: dict[str, set[int]] = {kind: set() for kind in KINDS}
        for row, kinds in enumerate(self._kinds):
            for kind in kinds:
                self._with[kind].add(row)

    def candidates(self, sentence: Sentence) -> list[int]:
        """Rows of the scenes that show all kinds and all colours of the sentence."""
        colours = {p.colour for p in sentence.phrases if p.colour}
        rows = set.intersection(*(self._with[p.kind] for p in sentence.phrases))
        return sorted(row for row in rows if colours <= self._colours[row])

    def true_of(self, sentence: Sentence) -> list[int]:
        """Rows of the scenes that satisfy the sentence."""
        return [row for row in self.candidates(sentence) if satisfies(self.scenes[row], sentence)]


def relevance_of(scenes: list[Scene], sentences: list[Sentence]) -> NDArray[np.bool_]:
    """Which sentence is true of which scene: bool [sentences, scenes]."""
    index, relevant = SceneIndex(scenes), np.zeros((len(sentences), len(scenes)), dtype=bool)
    for row, sentence in enumerate(sentences):
        relevant[row, index.true_of(sentence)] = True
    return relevant


def held_out(
    seed: int, n_families: int = 125, split: str = "test"
) -> tuple[list[Scene], list[Sentence], NDArray[np.bool_]]:
    """8 pictures per family, as many different sentences, and relevance [sentences, pictures].

    Every sentence is true of 1 to 3 of all pictures, and at least 5 others show all its kinds and colours.
    """
    rng = Random(f"held out {seed}")
    absent = reserved(seed)
    scenes: list[Scene] = []
    sentences: dict[Sentence, None] = {}
    while len(scenes) < 8 * n_families:
        plan = plan_family(rng)
        if split_of_key(plan_key(plan)) == split and not _shows(plan, absent):
            scenes += found if len(found := scenes_of(rng, plan, 8)) == 8 else []
    index = SceneIndex(scenes)
    for start in range(len(scenes)):
        _add_sentence(rng, index, start, sentences)
    return scenes, list(sentences), relevance_of(scenes, list(sentences))


def _add_sentence(rng: Random, index: SceneIndex, row: int, sentences: dict[Sentence, None]) -> None:
    """One more fitting sentence, about scene `row` or, where it has none left, about its family."""
    wanted = rng.choices(list(_SHAPES), list(_SHAPES.values()))[0]
    for attempt in range(2000):
        at = row if attempt < 100 else row // 8 * 8 + attempt % 8
        shape = wanted if attempt < 25 else rng.choice(list(_SHAPES))
        sentence = random_sentence(rng, index.scenes[at], shape)
        if sentence not in sentences and fits(index, sentence):
            sentences[sentence] = None
            return
    raise RuntimeError(f"no fitting sentence found around picture {row}")


def fits(index: SceneIndex, sentence: Sentence) -> bool:
    """Whether the sentence is true of 1 to 3 scenes and shares kinds and colours with at least 5 others."""
    rows = index.candidates(sentence)
    if len(rows) < 1 + LEAST_NEAR_MISSES:
        return False
    true = sum(satisfies(index.scenes[row], sentence) for row in rows)
    return 1 <= true <= MOST_RELEVANT and len(rows) - true >= LEAST_NEAR_MISSES


def reserved(seed: int) -> set[tuple[str, str]]:
    """(kind, colour) pairs that `held_out` of this seed never shows: at most one per kind."""
    rng = Random(f"reserved {seed}")
    kinds = rng.sample(KINDS, _RESERVED)
    return {(kind, COLOURS[i % len(COLOURS)]) for i, kind in enumerate(kinds)}


def _shows(plan: Plan, pairs: set[tuple[str, str]]) -> bool:
    extra = {plan.extra[:2]} if plan.extra else set()
    return not pairs.isdisjoint({(k, c) for k in plan.kinds for c in plan.colours} | extra)


def texts(sentences: list[Sentence], seed: int) -> list[str]:
    """The sentences in English, each in one wording drawn from the seed."""
    rng = Random(f"wordings {seed}")
    return [render(sentence, rng.randrange(12)) for sentence in sentences]


def swap_groups(seed: int, n: int = 500) -> dict[How, list[Triple]]:
    """For each kind of edit, `n` pictures of the test split with a true and a false sentence."""
    groups: dict[How, list[Triple]] = {how: [] for how in HOWS}
    rng = Random(f"swaps {seed}")
    shapes = {"swap_colour": ("pair", "relation", "triple"), "swap_side": ("relation",)}
    for found in families("test", seed + 1_000_003):
        for how, group in groups.items():
            scene = rng.choice(found)
            shape = rng.choice(shapes.get(how, ("single", "pair", "relation", "count")))
            true = random_sentence(rng, scene, shape)
            false = near_miss_sentence(rng, scene, true, how)
            if false is not None and len(group) < n:
                group.append((scene, true, false))
        if all(len(group) == n for group in groups.values()):
            return groups
    return groups


def absent(
    seed: int, n: int = 500, n_families: int = 125, split: str = "test"
) -> tuple[list[Sentence], list[Sentence]]:
    """`n` sentences that no picture of `held_out(seed, n_families, split)` satisfies, and `n` that some does.

    The absent ones are present ones with one phrase changed to a reserved kind and colour; each kind and each
    colour occurs elsewhere in the pictures. No list holds a sentence twice.
    """
    scenes, _, _ = held_out(seed, n_families, split)
    rng = Random(f"absent {seed}")
    pairs = sorted(reserved(seed))
    missing: dict[Sentence, None] = {}
    present: dict[Sentence, None] = {}
    while len(present) < n or len(missing) < n:
        sentence = random_sentence(
            rng, rng.choice(scenes), rng.choice(("single", "single", "pair", "relation"))
        )
        if any(phrase.colour is None for phrase in sentence.phrases):
            continue
        if len(present) < n:
            present[sentence] = None
        elif (changed := _with_reserved(rng, sentence, rng.choice(pairs))) is not None:
            missing[changed] = None
    return list(islice(missing, n)), list(present)


def _with_reserved(rng: Random, sentence: Sentence, pair: tuple[str, str]) -> Sentence | None:
    kind, colour = pair
    phrases = list(sentence.phrases)
    at = rng.randrange(len(phrases))
    if any(phrase.kind == kind for phrase in phrases):
        return None
    phrases[at] = Phrase(1, colour, kind, phrases[at].size)
    return replace(sentence, phrases=tuple(phrases))
