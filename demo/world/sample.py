"""Random scenes, and sentences that are true or just false of them. `rng` is a random.Random throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Literal

from demo.world.layout import place
from demo.world.scene import Scene, Thing, relation_holds
from demo.world.sentences import Phrase, Sentence, satisfies
from demo.world.things import COLOURS, KINDS, RELATIONS, SETTINGS, SIZES, WIDTHS

How = Literal["swap_colour", "swap_side", "exchange_object"]
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
Look = tuple[str, str, str]
"""Kind, colour, size."""


def build_scene(rng: Random, setting: str, looks: list[Look], relation: str | None = None) -> Scene | None:
    """A scene of these things at random places (the first two in `relation`); None when they did not fit."""
    spots = place(rng, [WIDTHS[size] for _, _, size in looks], relation)
    if spots is None:
        return None
    things = [Thing(*look, *spot) for look, spot in zip(looks, spots, strict=True)]
    return Scene(setting, tuple(things), rng.getrandbits(32))


def random_scene(rng: Random) -> Scene:
    """A scene of 1 to 5 things; some share a kind, some a colour, at most three are of one kind."""
    while True:
        count = rng.choices((1, 2, 3, 4, 5), (2, 5, 5, 4, 2))[0]
        looks: list[Look] = []
        while len(looks) < count:
            look = _next_look(rng, looks)
            if sum(kind == look[0] for kind, _, _ in looks) < 3:
                looks.append(look)
        scene = build_scene(rng, rng.choice(SETTINGS), looks)
        if scene is not None:
            return scene


def _next_look(rng: Random, looks: list[Look]) -> Look:
    kind, colour, size = rng.choice(KINDS), rng.choice(COLOURS), rng.choice(SIZES)
    if looks and rng.random() < 0.3:
        kind = rng.choice(looks)[0]
        if rng.random() < 0.6:
            colour = rng.choice([c for k, c, _ in looks if k == kind])
    elif looks and rng.random() < 0.2:
        colour = rng.choice(looks)[1]
    return kind, colour, size


SHAPES: dict[str, float] = {"single": 2.0, "pair": 3.0, "relation": 3.0, "count": 1.5, "triple": 1.0}
"""How often `random_sentence` tries each shape."""


def random_sentence(rng: Random, scene: Scene, shape: str | None = None) -> Sentence:
    """A sentence that is true of the scene; falls back to a single thing where the shape cannot be had."""
    shape = shape or rng.choices(list(SHAPES), list(SHAPES.values()))[0]
    say_size, setting = rng.random() < 0.25, scene.setting if rng.random() < 0.2 else None
    sentence = _of_shape(rng, scene, shape, say_size)
    if sentence is None or not satisfies(scene, sentence):
        sentence = Sentence((_phrase(rng, rng.choice(scene.things), say_size),))
    return replace(sentence, setting=setting)


def _of_shape(rng: Random, scene: Scene, shape: str, say_size: bool) -> Sentence | None:
    if shape == "count":
        return _counting(rng, scene)
    needed = {"single": 1, "pair": 2, "relation": 2, "triple": 3}[shape]
    if len(scene.things) < needed:
        return None
    things = rng.sample(scene.things, needed)
    phrases = tuple(_phrase(rng, thing, say_size) for thing in things)
    if not _plain(phrases):
        return None
    if shape != "relation":
        return Sentence(phrases)
    relation = rng.choice([r for r in RELATIONS if relation_holds(things[0], things[1], r)] or [None])
    return Sentence(phrases, relation) if relation else None


def _plain(phrases: Sequence[Phrase]) -> bool:
    """No kind twice unless every time with its own colour ("a car and a red car" says little)."""
    looks = {(p.kind, p.colour) for p in phrases}
    kinds = {p.kind for p in phrases}
    return len(looks) == len(phrases) and (len(kinds) == len(phrases) or all(p.colour for p in phrases))


def _phrase(rng: Random, thing: Thing, say_size: bool) -> Phrase:
    colour = thing.colour if rng.random() < 0.93 else None
    return Phrase(1, colour, thing.kind, thing.size if say_size else None)


def _counting(rng: Random, scene: Scene) -> Sentence | None:
    """Like "two red cars", "three cars", "two red cars and a house"."""
    counts = _count_phrases(scene)
    if not counts:
        return None
    first = rng.choice(counts)
    others = [t for t in scene.things if t.kind != first.kind or first.colour not in (None, t.colour)]
    if not others or rng.random() < 0.4:
        return Sentence((first,))
    phrases = (first, _phrase(rng, rng.choice(others), False))
    return Sentence(phrases) if _plain(phrases) else None


def _count_phrases(scene: Scene) -> list[Phrase]:
    wanted = {(t.colour, t.kind) for t in scene.things} | {(None, t.kind) for t in scene.things}
    found = []
    for colour, kind in sorted(wanted, key=str):
        count = sum(t.kind == kind and colour in (None, t.colour) for t in scene.things)
        if count in (2, 3):
            found.append(Phrase(count, colour, kind))
    return found


def full_caption(scene: Scene, rng: Random) -> Sentence:
    """A sentence that names every thing of the scene with its colour, grouped and counted."""
    groups: dict[tuple[str, str], list[Thing]] = {}
    for thing in scene.things:
        groups.setdefault((thing.colour, thing.kind), []).append(thing)
    phrases = [Phrase(len(group), colour, kind) for (colour, kind), group in groups.items()]
    rng.shuffle(phrases)
    setting = scene.setting if rng.random() < 0.5 else None
    relation = _only_relation(rng, scene, phrases)
    return Sentence(tuple(phrases), relation, setting)


def _only_relation(rng: Random, scene: Scene, phrases: list[Phrase]) -> str | None:
    if len(phrases) < 2 or phrases[0].count > 1 or phrases[1].count > 1 or rng.random() < 0.4:
        return None
    true = [r for r in RELATIONS if satisfies(scene, Sentence((phrases[0], phrases[1]), r))]
    return rng.choice(true) if true else None


def near_miss_sentence(rng: Random, scene: Scene, sentence: Sentence, how: How) -> Sentence | None:
    """The sentence changed in one way so that it is false of the scene; None when that cannot be done."""
    edits = {"swap_colour": _swap_colours, "swap_side": _swap_sides, "exchange_object": _exchange_objects}[
        how
    ](rng, scene, sentence)
    return next((edit for edit in edits if not satisfies(scene, edit)), None)


def _swap_colours(rng: Random, scene: Scene, sentence: Sentence) -> list[Sentence]:
    edits, phrases = [], sentence.phrases
    for i in range(len(phrases)):
        for j in range(i + 1, len(phrases)):
            a, b = phrases[i].colour, phrases[j].colour
            if a and b and a != b:
                swapped = list(phrases)
                swapped[i], swapped[j] = replace(phrases[i], colour=b), replace(phrases[j], colour=a)
                edits.append(replace(sentence, phrases=tuple(swapped)))
    rng.shuffle(edits)
    return edits


def _swap_sides(rng: Random, scene: Scene, sentence: Sentence) -> list[Sentence]:
    if sentence.relation is None:
        return []
    return [replace(sentence, relation=OPPOSITE[sentence.relation])]


def _exchange_objects(rng: Random, scene: Scene, sentence: Sentence) -> list[Sentence]:
    """One kind replaced; half of the time first by kinds that the scene shows elsewhere: harder to tell."""
    present = sorted({t.kind for t in scene.things})
    others = rng.sample(KINDS, 6)
    kinds = rng.sample(present, len(present)) + others if rng.random() < 0.5 else others
    edits = []
    for kind in kinds:
        i = rng.randrange(len(sentence.phrases))
        if sentence.phrases[i].kind != kind:
            phrases = list(sentence.phrases)
            phrases[i] = replace(phrases[i], kind=kind)
            if not _plain(phrases):
                continue
            edits.append(replace(sentence, phrases=tuple(phrases)))
    return edits
