"""What the picture-book world is made of: kinds, colours, sizes and settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from demo.world import things_animals as animals
from demo.world import things_home as home
from demo.world import things_nature as nature
from demo.world import things_vehicles as vehicles
from demo.world.pen import Colour, Pen

DRAWERS: Final[dict[str, Callable[[Pen], None]]] = {
    "house": vehicles.house,
    "tree": nature.tree,
    "car": vehicles.car,
    "boat": vehicles.boat,
    "fish": animals.fish,
    "bird": animals.bird,
    "cat": animals.cat,
    "star": nature.star,
    "moon": nature.moon,
    "balloon": vehicles.balloon,
    "kite": vehicles.kite,
    "flower": nature.flower,
    "mushroom": nature.mushroom,
    "umbrella": vehicles.umbrella,
    "cup": home.cup,
    "book": home.book,
    "clock": home.clock,
    "key": home.key,
    "rocket": vehicles.rocket,
    "train": vehicles.train,
    "bicycle": vehicles.bicycle,
    "apple": nature.apple,
    "cake": nature.cake,
    "guitar": home.guitar,
    "dog": animals.dog,
    "hat": home.hat,
    "chair": home.chair,
    "lamp": home.lamp,
    "drum": home.drum,
    "butterfly": animals.butterfly,
    "snail": animals.snail,
    "bell": home.bell,
    "mouse": animals.mouse,
    "crown": vehicles.crown,
    "heart": nature.heart,
    "turtle": animals.turtle,
}
KINDS: Final[tuple[str, ...]] = tuple(DRAWERS)

PALETTE: Final[dict[str, Colour]] = {
    "red": (214, 36, 40),
    "orange": (245, 132, 18),
    "yellow": (246, 206, 24),
    "green": (46, 152, 66),
    "blue": (36, 98, 214),
    "purple": (122, 52, 172),
    "pink": (246, 122, 182),
    "brown": (122, 76, 40),
}
COLOURS: Final[tuple[str, ...]] = tuple(PALETTE)

WIDTHS: Final[dict[str, float]] = {"small": 0.17, "medium": 0.25, "big": 0.35}
"""Side of a thing's box as a share of the picture's width."""
SIZES: Final[tuple[str, ...]] = tuple(WIDTHS)

SETTINGS: Final[tuple[str, ...]] = ("meadow", "beach", "night", "snow", "city", "plain")
RELATIONS: Final[tuple[str, ...]] = ("left of", "right of", "above", "below")
MARGIN: Final = 0.12
"""Least distance of two centres along an axis for a relation to hold."""
