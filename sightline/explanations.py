"""Why an image is a hit: plain values between the model that explains and the edges.

Nothing here may import NumPy or more: the command line reads these names for its help.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_EXPLAINED: Final = 20
"""Hits of one answer that are explained: each costs a pass for every word, and one with gradients."""
MAX_WORDS: Final = 12
"""Words of one text that are explained, the first ones."""


@dataclass(frozen=True)
class Heat:
    """Where in a picture something came from.

    ``values``: rows from the top, each from the left, 0 to 1; the largest is 1, unless all are 0. The cells
    share the whole upright picture evenly: the model sees all of it, resized to a square, so that a cell is
    1/``width`` of its width and 1/``height`` of its height, whatever its shape.
    """

    width: int
    height: int
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ExplainedWord:
    """One word of the text, ``text[start:end]``.

    ``probability_without``: the match probability of the text without it (None where nothing would be left).
    ``drop``: how much lower that is; negative where the picture fits better without the word.
    """

    word: str
    start: int
    end: int
    probability_without: float | None
    drop: float | None
    heat: Heat


@dataclass(frozen=True)
class Explanation:
    """Why one image matches a text, as far as the model can tell; all of ITM in float32.

    ``query_token``: which of the image's tokens is nearest to the text vector, from 0; ``itc``: its cosine.
    ``no_match_logit`` and ``match_logit``: what ITM gave, averaged over what its head judges.
    """

    query_token: int
    itc: float
    no_match_logit: float
    match_logit: float
    match_probability: float
    words: tuple[ExplainedWord, ...]
    heat: Heat
