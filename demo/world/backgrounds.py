"""Soft, pale backgrounds: nothing in them looks like one of the things."""

from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image, ImageDraw

from demo.world.pen import Colour, mix, spline

_SKIES: dict[str, tuple[Colour, Colour]] = {
    "meadow": ((222, 234, 242), (240, 244, 240)),
    "beach": ((214, 232, 240), (240, 242, 238)),
    "night": ((122, 132, 156), (170, 176, 194)),
    "snow": ((206, 214, 224), (228, 232, 238)),
    "city": ((232, 224, 222), (242, 236, 228)),
    "plain": ((248, 243, 233), (244, 238, 227)),
}


def background(setting: str, side: int, rng: Random) -> Image.Image:
    """The background of a setting as an RGB picture of side x side pixels."""
    top, bottom = (_vary(colour, rng) for colour in _SKIES[setting])
    steps = np.linspace(0, 1, side)[:, None]
    rows = np.asarray(top) * (1 - steps) + np.asarray(bottom) * steps
    column = Image.fromarray(rows.round().astype(np.uint8)[:, None, :])
    picture = column.resize((side, side), Image.Resampling.NEAREST)
    _FLOORS[setting](ImageDraw.Draw(picture), side, rng)
    return picture


def _vary(colour: Colour, rng: Random, by: int = 4) -> Colour:
    shift = rng.randint(-by, by)
    red, green, blue = (min(255, max(0, c + shift + rng.randint(-2, 2))) for c in colour)
    return (red, green, blue)


def _hills(canvas: ImageDraw.ImageDraw, side: int, rng: Random, level: float, colour: Colour) -> None:
    """A rolling ground line around `level` (0..1 from the top), filled down to the bottom."""
    points = tuple((-0.1 + 0.2 * i, level + rng.uniform(-0.035, 0.035)) for i in range(7))
    line = spline(((-0.3, level), *points, (1.3, level)), 4)[4:-8]
    shape = [(x * side, y * side) for x, y in line]
    canvas.polygon([*shape, (side * 1.2, side * 1.2), (-side * 0.2, side * 1.2)], fill=_vary(colour, rng))


def _spots(
    canvas: ImageDraw.ImageDraw, side: int, rng: Random, spec: tuple[int, float, float], colour: Colour
) -> None:
    """`spec` = (how many, from which height down (0..1), radius as a share of the side)."""
    count, top, radius = spec
    for _ in range(count):
        x, y = rng.random() * side, (top + (1 - top) * rng.random()) * side
        r = radius * side * rng.uniform(0.6, 1.2)
        canvas.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def _meadow(canvas: ImageDraw.ImageDraw, side: int, rng: Random) -> None:
    level = rng.uniform(0.45, 0.6)
    _hills(canvas, side, rng, level, (216, 229, 206))
    _hills(canvas, side, rng, level + 0.16, (206, 222, 194))
    for _ in range(14):
        x, y = rng.random() * side, rng.uniform(level + 0.2, 1) * side
        h = side * 0.02
        canvas.polygon(
            [(x - h / 2, y), (x - h, y - h), (x, y - h / 2), (x + h, y - h), (x + h / 2, y)],
            fill=(192, 212, 180),
        )


def _beach(canvas: ImageDraw.ImageDraw, side: int, rng: Random) -> None:
    level = rng.uniform(0.36, 0.46)
    canvas.rectangle((0, level * side, side, side), fill=_vary((196, 219, 228), rng))
    for i in range(3):
        y = (level + 0.05 + 0.055 * i) * side
        x = rng.uniform(0, 0.6) * side
        canvas.line((x, y, x + 0.3 * side, y), fill=(216, 232, 238), width=max(1, side // 110))
    _hills(canvas, side, rng, level + 0.24, (226, 236, 238))
    _hills(canvas, side, rng, level + 0.26, (241, 230, 205))
    _spots(canvas, side, rng, (16, level + 0.34, 0.005), (226, 212, 184))


def _night(canvas: ImageDraw.ImageDraw, side: int, rng: Random) -> None:
    _spots(canvas, side, rng, (30, 0.0, 0.004), (226, 228, 240))
    _hills(canvas, side, rng, rng.uniform(0.68, 0.8), (138, 146, 168))


def _snow(canvas: ImageDraw.ImageDraw, side: int, rng: Random) -> None:
    level = rng.uniform(0.46, 0.6)
    _hills(canvas, side, rng, level, (238, 242, 246))
    _hills(canvas, side, rng, level + 0.18, (249, 251, 253))
    _spots(canvas, side, rng, (34, 0.0, 0.008), (252, 253, 255))


def _city(canvas: ImageDraw.ImageDraw, side: int, rng: Random) -> None:
    x, ground = -0.03, rng.uniform(0.72, 0.8)
    while x < 1:
        width, top = rng.uniform(0.1, 0.18), rng.uniform(0.2, 0.5)
        shade = _vary((218, 212, 214), rng, 7)
        canvas.rectangle((x * side, top * side, (x + width) * side, side), fill=shade)
        light = mix(shade, (255, 250, 235), 0.5)
        for row in range(4):
            for k in (0.22, 0.6):
                wx, wy = (x + width * k) * side, (top + 0.04 + 0.08 * row) * side
                canvas.rectangle((wx, wy, wx + 0.02 * side, wy + 0.035 * side), fill=light)
        x += width + 0.008
    canvas.rectangle((0, ground * side, side, side), fill=_vary((206, 203, 205), rng))
    for i in range(6):
        left = (0.03 + i * 0.18) * side
        canvas.rectangle((left, 0.89 * side, left + 0.09 * side, 0.905 * side), fill=(230, 228, 226))


def _plain(canvas: ImageDraw.ImageDraw, side: int, rng: Random) -> None:
    """Paper: nothing on it."""


_FLOORS = {"meadow": _meadow, "beach": _beach, "night": _night, "snow": _snow, "city": _city, "plain": _plain}
