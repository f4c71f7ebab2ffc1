"""From a scene to pixels, and to what each patch of the picture shows."""

from __future__ import annotations

from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from demo.world.backgrounds import background
from demo.world.pen import Colour, Pen, mix
from demo.world.scene import Scene, Thing
from demo.world.things import COLOURS, DRAWERS, KINDS, PALETTE, SIZES, WIDTHS

_MASK = 48
"""Side of the occupancy mask of a kind."""
_SAMPLES = 4
"""Sample points per cell and axis when the share of a cell that a thing covers is measured."""
MIN_COVERAGE = 0.15


def draw(scene: Scene, size: int, supersample: int = 3) -> NDArray[np.uint8]:
    """The picture of a scene: [size, size, 3], drawn `supersample` times larger and box-averaged."""
    side, rng = size * supersample, Random(scene.seed)
    picture = background(scene.setting, side, rng)
    canvas = ImageDraw.Draw(picture)
    for thing in scene.things:
        DRAWERS[thing.kind](_pen(canvas, thing, side, rng.uniform(-0.06, 0.06)))
    return np.asarray(picture.reduce(supersample) if supersample > 1 else picture)


def _pen(canvas: ImageDraw.ImageDraw, thing: Thing, side: int, shade: float) -> Pen:
    width = WIDTHS[thing.size]
    main = _shade(PALETTE[thing.colour], shade)
    return Pen(
        canvas,
        (thing.x - width / 2) * side,
        (thing.y - width / 2) * side,
        width * side / 100,
        main,
        mix(main, (20, 10, 30), 0.24),
        mix(main, (255, 255, 255), 0.32),
    )


def _shade(colour: Colour, by: float) -> Colour:
    return mix(colour, (255, 255, 255) if by > 0 else (0, 0, 0), abs(by))


@lru_cache(maxsize=len(KINDS))
def _mask(kind: str) -> NDArray[np.bool_]:
    """Where a kind covers its box: [_MASK, _MASK]."""
    picture = Image.new("RGB", (_MASK, _MASK), (0, 0, 0))
    white = (255, 255, 255)
    DRAWERS[kind](Pen(ImageDraw.Draw(picture), 0, 0, _MASK / 100, white, white, white))
    return np.asarray(picture.convert("L")) > 0


def patch_labels(scene: Scene, grid: int) -> dict[str, NDArray[np.int64] | NDArray[np.float32]]:
    """What each of grid x grid cells shows: arrays [grid, grid].

    `kind`, `colour`, `size` (int64, 1.. in the order of KINDS, COLOURS, SIZES; 0 = background) and `thing`
    (int64, index in scene.things; -1 = none) of the thing that covers most of the cell, if that is at least
    MIN_COVERAGE of it; `dx`, `dy` (float32) from the cell's centre to the thing's centre, in picture widths
    (0 where there is none).
    """
    share = np.stack([_coverage(thing, grid) for thing in scene.things])
    best = share.argmax(axis=0)
    shown = np.take_along_axis(share, best[None], axis=0)[0] >= MIN_COVERAGE
    thing = np.where(shown, best, -1)
    table = np.array(
        [
            [KINDS.index(t.kind) + 1, COLOURS.index(t.colour) + 1, SIZES.index(t.size) + 1]
            for t in scene.things
        ]
        + [[0, 0, 0]]
    )
    centres = np.array([[t.x, t.y] for t in scene.things])[best]
    cells = (np.arange(grid) + 0.5) / grid
    return {
        "kind": table[thing, 0],
        "colour": table[thing, 1],
        "size": table[thing, 2],
        "thing": thing,
        "dx": np.where(shown, centres[..., 0] - cells[None, :], 0).astype(np.float32),
        "dy": np.where(shown, centres[..., 1] - cells[:, None], 0).astype(np.float32),
    }


def _coverage(thing: Thing, grid: int) -> NDArray[np.float64]:
    """The share of each cell that the thing covers: [grid, grid]."""
    width, fine = WIDTHS[thing.size], grid * _SAMPLES
    points = (np.arange(fine) + 0.5) / fine
    columns = np.floor(((points - thing.x) / width + 0.5) * _MASK).astype(int)
    rows = np.floor(((points - thing.y) / width + 0.5) * _MASK).astype(int)
    inside = ((rows >= 0) & (rows < _MASK))[:, None] & ((columns >= 0) & (columns < _MASK))[None, :]
    covered = inside & _mask(thing.kind)[np.ix_(rows.clip(0, _MASK - 1), columns.clip(0, _MASK - 1))]
    share: NDArray[np.float64] = covered.reshape(grid, _SAMPLES, grid, _SAMPLES).mean(axis=(1, 3))
    return share
