"""Hostile and odd pictures, made from nothing, each with its right pixels or the code of its rejection.

``cases()`` lists them; the bytes are made when they are asked for. Archives are not here.
"""

from __future__ import annotations

from functools import cache

from tests.imaging.hostile import (
    avif,
    cut,
    gif,
    heif,
    jpeg,
    jxl,
    lies,
    others,
    png,
    png_filters,
    raws,
    tiff,
    tiff_numbers,
    tiff_spaces,
    turns,
    webp,
)
from tests.imaging.hostile.case import Case as Case


@cache
def cases() -> tuple[Case, ...]:
    """Every case, in a fixed order, under a name of its own."""
    tiffs = (tiff, tiff_numbers, tiff_spaces)
    families = (png, png_filters, gif, jpeg, *tiffs, raws, webp, avif, heif, jxl, others, turns, cut, lies)
    return tuple(case for family in families for case in family.cases())
