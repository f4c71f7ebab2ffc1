"""A scene: what is in a picture, and where."""

from __future__ import annotations

from dataclasses import dataclass

from demo.world.things import MARGIN


@dataclass(frozen=True)
class Thing:
    """One thing; x and y are its centre in 0..1 of the picture, y down."""

    kind: str
    colour: str
    size: str
    x: float
    y: float


@dataclass(frozen=True)
class Scene:
    """What a picture shows; `seed` only varies the background and the shade of colours a little."""

    setting: str
    things: tuple[Thing, ...]
    seed: int


def relation_holds(a: Thing, b: Thing, relation: str) -> bool:
    """Whether `a` is `relation` `b`: the centres differ by at least MARGIN along that axis."""
    if relation == "left of":
        return b.x - a.x >= MARGIN
    if relation == "right of":
        return a.x - b.x >= MARGIN
    if relation == "above":
        return b.y - a.y >= MARGIN
    if relation == "below":
        return a.y - b.y >= MARGIN
    raise ValueError(f"unknown relation {relation!r}")
