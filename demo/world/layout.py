"""Where things go: without overlap, inside the picture, never nearly left of or nearly above one another."""

from __future__ import annotations

from random import Random

from demo.world.things import MARGIN

EDGE = 0.01
GAP = 0.015
NEARLY = 0.075
"""No two centres differ by NEARLY to MARGIN + 0.01 along an axis: such a picture could be argued about."""

Spot = tuple[float, float]

_TURNS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


def place(
    rng: Random, widths: list[float], relation: str | None = None, tries: int = 40
) -> list[Spot] | None:
    """A centre per thing, or None when they did not fit.

    With a relation, the first thing stands in it to the second and in no other (the other axis is level).
    """
    for _ in range(tries):
        spots = _pair(rng, widths, relation) if relation else []
        for width in widths[len(spots) :]:
            spot = _free_spot(rng, spots, widths, width)
            if spot is None:
                break
            spots.append(spot)
        if len(spots) == len(widths):
            return [(round(x, 4), round(y, 4)) for x, y in spots]
    return None


def _free_spot(rng: Random, spots: list[Spot], widths: list[float], width: float) -> Spot | None:
    low = width / 2 + EDGE
    for _ in range(30):
        spot = (rng.uniform(low, 1 - low), rng.uniform(low, 1 - low))
        if all(_clear(spot, other, (width + w) / 2) for other, w in zip(spots, widths, strict=False)):
            return spot
    return None


def _clear(a: Spot, b: Spot, reach: float) -> bool:
    dx, dy = abs(a[0] - b[0]), abs(a[1] - b[1])
    unclear = NEARLY < dx < MARGIN + 0.01 or NEARLY < dy < MARGIN + 0.01
    return not unclear and (dx >= reach + GAP or dy >= reach + GAP)


def _pair(rng: Random, widths: list[float], relation: str) -> list[Spot]:
    """Two centres level along one axis and apart along the other."""
    half = [w / 2 + EDGE for w in widths[:2]]
    least, most = sum(widths[:2]) / 2 + GAP, 1 - sum(half)
    apart, level = rng.uniform(least, most), rng.uniform(-NEARLY, NEARLY)
    start = half[0] + rng.uniform(0, most - apart)
    base = rng.uniform(max(half) + NEARLY, 1 - max(half) - NEARLY)
    along, across = (start, base), (start + apart, base + level)
    turn_x, turn_y = _TURNS[relation]
    if turn_x + turn_y > 0:
        along, across = (1 - along[0], along[1]), (1 - across[0], across[1])
    if turn_x:
        return [along, across]
    return [(along[1], along[0]), (across[1], across[0])]
