"""Scenes of the picture-book world: no overlap, clear relations, families of near misses, splits."""

from __future__ import annotations

from itertools import combinations, islice
from random import Random

import pytest

from demo.world.families import family
from demo.world.sample import random_scene
from demo.world.scene import Scene, Thing, relation_holds
from demo.world.splits import SPLITS, families, scenes
from demo.world.things import COLOURS, KINDS, RELATIONS, SIZES, WIDTHS


def _many(count: int = 300, seed: int = 0) -> list[Scene]:
    rng = Random(seed)
    return [random_scene(rng) for _ in range(count)] + [s for _ in range(20) for s in family(rng)]


def test_world_has_what_the_plan_asks_for() -> None:
    assert len(KINDS) >= 32
    assert len(set(KINDS)) == len(KINDS)
    assert (len(COLOURS), len(SIZES)) == (8, 3)


def test_same_seed_gives_the_same_scenes_and_another_seed_others() -> None:
    assert _many(seed=4) == _many(seed=4)
    assert _many(seed=4) != _many(seed=5)


def overlap(a: Thing, b: Thing) -> bool:
    """Whether the boxes of two things share a point."""
    reach = (WIDTHS[a.size] + WIDTHS[b.size]) / 2
    return abs(a.x - b.x) < reach and abs(a.y - b.y) < reach


def test_things_lie_inside_the_picture_and_never_overlap() -> None:
    for scene in _many():
        for thing in scene.things:
            half = WIDTHS[thing.size] / 2
            assert half <= thing.x <= 1 - half
            assert half <= thing.y <= 1 - half
        assert not any(overlap(a, b) for a, b in combinations(scene.things, 2))


def test_relations_are_never_close_calls() -> None:
    for scene in _many():
        for a, b in combinations(scene.things, 2):
            for gap in (abs(a.x - b.x), abs(a.y - b.y)):
                assert not 0.0755 < gap < 0.12


@pytest.mark.parametrize(
    ("x", "y", "true"),
    [
        (0.9, 0.5, {"left of"}),
        (0.1, 0.5, {"right of"}),
        (0.5, 0.9, {"above"}),
        (0.5, 0.1, {"below"}),
        (0.9, 0.9, {"left of", "above"}),
        (0.55, 0.55, set()),
    ],
)
def test_relations_follow_the_centres_with_y_down(x: float, y: float, true: set[str]) -> None:
    here, there = Thing("cat", "red", "small", 0.5, 0.5), Thing("dog", "red", "small", x, y)
    assert {r for r in RELATIONS if relation_holds(here, there, r)} == true


def test_a_family_shares_kinds_colours_and_setting_but_no_two_scenes_show_the_same() -> None:
    rng = Random(2)
    for _ in range(50):
        found = family(rng)
        assert len(found) == 8
        assert len({frozenset(t.kind for t in s.things) for s in found}) == 1
        assert len({frozenset(t.colour for t in s.things) for s in found}) == 1
        assert len({s.setting for s in found}) == 1
        assert all(_facts(a) != _facts(b) for a, b in combinations(found, 2))


def _facts(scene: Scene) -> set[object]:
    """What the world's sentences can say about a scene: looks with their counts, and relations of looks."""
    looks = sorted((t.kind, t.colour, t.size) for t in scene.things)
    related = {
        ((a.kind, a.colour), r, (b.kind, b.colour))
        for a in scene.things
        for b in scene.things
        for r in RELATIONS
        if relation_holds(a, b, r)
    }
    return {tuple(looks)} | related


def test_splits_share_no_content() -> None:
    def content(scene: Scene) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset(t.kind for t in scene.things), frozenset(t.colour for t in scene.things)

    shown = {
        split: {content(s) for s in islice(scenes(split, 0), 100)}
        | {content(s) for found in islice(families(split, 0), 20) for s in found}
        for split in SPLITS
    }
    assert all(shown[a].isdisjoint(shown[b]) for a, b in combinations(SPLITS, 2))


def test_split_streams_are_deterministic() -> None:
    first, again = (list(islice(scenes("val", 7), 20)) for _ in range(2))
    assert first == again
