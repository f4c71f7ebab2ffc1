"""Which scenes belong to train, val and test: by what they show, so that the splits cannot meet.

The key of a scene is its set of kinds and its set of colours. A whole family has one key, hence one split;
a test picture's combination of kinds and colours is never seen in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from random import Random

from demo.world.families import Plan, plan_family, scenes_of
from demo.world.sample import random_scene
from demo.world.scene import Scene

SPLITS = ("train", "val", "test")


def content_key(kinds: set[str], colours: set[str]) -> str:
    """The canonical content of a scene, as text."""
    return "+".join(sorted(kinds)) + "|" + "+".join(sorted(colours))


def plan_key(plan: Plan) -> str:
    """The content key that every scene of the plan has."""
    kind, colour = ({plan.extra[0]}, {plan.extra[1]}) if plan.extra else (set[str](), set[str]())
    return content_key({*plan.kinds} | kind, {*plan.colours} | colour)


def split_of_key(key: str) -> str:
    """The split of a content key: a tenth is val, a tenth test."""
    share = blake2b(key.encode(), digest_size=2).digest()[0]
    return "test" if share < 26 else "val" if share < 52 else "train"


def split_of(scene: Scene) -> str:
    """The split that a scene belongs to."""
    return split_of_key(content_key({t.kind for t in scene.things}, {t.colour for t in scene.things}))


def scenes(split: str, seed: int) -> Iterator[Scene]:
    """Random scenes of one split, without end."""
    rng = Random(f"{split} {seed}")
    while True:
        scene = random_scene(rng)
        if split_of(scene) == split:
            yield scene


def families(split: str, seed: int, n: int = 8) -> Iterator[list[Scene]]:
    """Families of `n` scenes of one split, without end."""
    rng = Random(f"families {split} {seed}")
    while True:
        plan = plan_family(rng)
        if split_of_key(plan_key(plan)) == split:
            found = scenes_of(rng, plan, n)
            if len(found) == n:
                yield found
