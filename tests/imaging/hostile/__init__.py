"""Hostile and odd pictures, made from nothing, each with its right pixels or the code of its rejection.

``cases()`` lists them; the bytes are made when they are asked for. Archives are not here.
"""

from __future__ import annotations

from functools import cache

from tests.imaging.hostile import avif, cut, gif, jpeg, lies, others, png, raws, tiff, turns, webp
from tests.imaging.hostile.case import Case as Case


@cache
def cases() -> tuple[Case, ...]:
    """Every case, in a fixed order, under a name of its own."""
    families = (png, gif, jpeg, tiff, raws, webp, avif, others, turns, cut, lies)
    return tuple(case for family in families for case in family.cases())
