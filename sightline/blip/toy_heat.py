"""Where the toy's matches come from (see sightline/blip/toy.py).

It has no attention. Each colour word demands its colour in the best of the quadrants that the places after it
leave, so that is where the word came from: its heat ``[2,2]`` is the agreement there and 0 elsewhere (the
first of equal quadrants). A place that follows a colour narrows its demand and has its heat; words that
demand nothing came from nowhere, 0 throughout. The whole text's heat is the mean over its demands.
Shapes: K pictures · W words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sightline.blip.heat_maps import HeatMaps
from sightline.blip.text_words import TextWord

Demand = tuple[tuple[float, float, float], tuple[int, ...]]
"""A colour, and the patch rows (1 to 4) of which one must show it."""


def toy_heat_maps(
    words: Sequence[TextWord],
    demanding: Sequence[Demand | None],
    demands: Sequence[Demand],
    colours_K53: Tensor,
    logits_K2: Tensor,
) -> HeatMaps:
    """``demanding``: the demand that each word belongs to, None for no demand."""
    rows = [[_heat(demand, colours) for demand in demanding] for colours in colours_K53]
    by_word = torch.stack([torch.stack(row) if row else torch.zeros(0, 2, 2) for row in rows])
    whole = torch.stack([_mean([_heat(demand, colours) for demand in demands]) for colours in colours_K53])
    return HeatMaps(tuple(words), logits_K2, whole, by_word)


def _heat(demand: Demand | None, colours_53: Tensor) -> Tensor:
    heat_4 = torch.zeros(4)
    if demand is not None:
        colour, rows = demand
        agreed = [1 - float((colours_53[row] - torch.tensor(colour)).abs().mean()) for row in rows]
        best = max(range(len(rows)), key=agreed.__getitem__)
        heat_4[rows[best] - 1] = agreed[best]
    return heat_4.view(2, 2)


def _mean(heats: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(heats)).mean(dim=0) if heats else torch.zeros(2, 2)
