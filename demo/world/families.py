"""Families: scenes of the same kinds and colours that differ in binding, side, size or count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from random import Random

from demo.world.sample import Look, build_scene
from demo.world.scene import Scene
from demo.world.things import COLOURS, KINDS, RELATIONS, SETTINGS

Counts = tuple[int, ...]
Variant = tuple[tuple[str, ...], str | None, tuple[str, ...], Counts]
"""Colours, relation of the first two, sizes and counts, per main thing."""

AXES: dict[tuple[str, ...], float] = {
    ("binding", "side"): 4.0,
    ("binding",): 3.0,
    ("binding", "size"): 2.0,
    ("binding", "count"): 2.0,
    ("side", "size"): 1.0,
}
"""What a family varies, and how often."""


@dataclass(frozen=True)
class Plan:
    """What all scenes of a family share: kinds and colours of the main things, setting, a common extra."""

    kinds: tuple[str, ...]
    colours: tuple[str, ...]
    setting: str
    extra: Look | None
    axes: tuple[str, ...]


def plan_family(rng: Random) -> Plan:
    """A random plan of two or three things; binding alone makes only six scenes, so it gets a second."""
    axes = rng.choices(list(AXES), list(AXES.values()))[0]
    mains = 3 if axes == ("binding",) or (axes != ("binding", "count") and rng.random() < 0.4) else 2
    kinds, colours = rng.sample(KINDS, mains), rng.sample(COLOURS, mains)
    extra: Look | None = None
    if rng.random() < 0.4:
        extra = (rng.choice([k for k in KINDS if k not in kinds]), rng.choice(COLOURS), "small")
    if axes == ("binding",):
        axes = ("binding", "size") if rng.random() < 0.5 else ("binding", "side")
    return Plan(tuple(kinds), tuple(colours), rng.choice(SETTINGS), extra, axes)


def family(rng: Random, n: int = 8) -> list[Scene]:
    """`n` scenes that share their sets of kinds and colours, each a near miss of the others."""
    while True:
        scenes = scenes_of(rng, plan_family(rng), n)
        if len(scenes) == n:
            return scenes


def scenes_of(rng: Random, plan: Plan, n: int) -> list[Scene]:
    """Up to `n` scenes of a plan, every one another variant of it."""
    variants = list(_variants(plan, rng))
    rng.shuffle(variants)
    scenes: list[Scene] = []
    for variant in variants:
        if len(scenes) == n:
            break
        scene = build_scene(rng, plan.setting, _looks(plan, variant), variant[1])
        if scene is not None:
            scenes.append(scene)
    return scenes


def _variants(plan: Plan, rng: Random) -> Iterator[Variant]:
    mains = len(plan.kinds)
    colours = list(permutations(plan.colours)) if "binding" in plan.axes else [plan.colours]
    sides: list[str | None] = list(RELATIONS) if "side" in plan.axes else [None]
    base = tuple(rng.choice(("small", "medium", "big")) for _ in range(mains))
    sizes = _sizes(mains) if "size" in plan.axes else [base]
    counts = _counts(mains) if "count" in plan.axes else [(1,) * mains]
    return iter(product(colours, sides, sizes, counts))


def _sizes(mains: int) -> list[tuple[str, ...]]:
    return [sizes for sizes in product(("small", "big"), repeat=mains) if len(set(sizes)) > 1]


def _counts(mains: int) -> list[Counts]:
    return [counts for counts in product((1, 2, 3), repeat=mains) if sum(counts) <= mains + 2]


def _looks(plan: Plan, variant: Variant) -> list[Look]:
    colours, _, sizes, counts = variant
    looks = list(zip(plan.kinds, colours, sizes, strict=True))
    more = [look for look, count in zip(looks, counts, strict=True) for _ in range(count - 1)]
    return looks + more + ([plan.extra] if plan.extra else [])
