"""A toy model that can be computed by hand. It ships, so that tests patch nothing.

``ToyMatcher`` judges only, as an InstructBLIP does; ``ToyEncoder`` embeds as well.

Everything is a colour and a place. Shapes: Q = 4 query tokens, D = 8, P = 5 patches, V = 6. torch only.

Pixels ``[B,3,2,2]``
    the mean colour of each quadrant, in 256ths: ``floor(mean · 256 / 255 + ½) / 256``. Black is 0, white
    is 1, and every value survives fp16 unchanged. A picture of one pixel has four equal quadrants.
Patches ``[B,5,6]``
    row 0 is the whole picture (mean of the quadrants), rows 1 to 4 are top left, top right, bottom left,
    bottom right; a row is ``(r, g, b, x, y, 1)`` with x = −1 left, +1 right, y = −1 bottom, +1 top; the
    whole lies at (0, 0).
Tokens ``[B,4,8]``
    one for each quadrant: ``(r, g, b, 1−r, 1−g, 1−b, x/4, y/4)``, normalised. Before that, the product of
    two pure colours is the number of channels on which they agree, give or take 1/8 for the place.
Text vector ``[8]``
    a colour word adds ``(r, g, b, 1−r, 1−g, 1−b, 0, 0)``, a place word (left, right, top, bottom) adds ∓¼
    in its direction, any other word adds ``(byte_i(SHA-256(word)) − 127.5) / 2550`` for i < 8, about a
    tenth of a colour. The sum is normalised; when it is zero (no words, "left right") it is that of the
    word "". Words beyond the 16th are cut.
Match ``[2]``
    each colour word demands its colour in one quadrant; places that directly follow it say in which
    ("red top left"). Agreement with a demand is ``1 − mean|c − p|`` in the best of its quadrants. With a
    the mean agreement (½ when the text names no colour) and w the mean of r, g, b of the whole picture,
    ``logits = (2·w, 8·a − 4)``. A pair that goes through the first of two layers only has them without
    regard for places.

So ITC sees the mixture and ITM sees the parts. For "red blue" a purple picture (128, 0, 128) has the higher
ITC score (0.97 against 0.80), one that is half red and half blue has the higher match logit (4 against 1⅓).
The first logit depends on the picture: match probability is not monotone in the match logit, just as in a
real model.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sightline.blip.heat_maps import HeatMaps
from sightline.blip.latents import Latents
from sightline.blip.pair_states import PairStates
from sightline.blip.text_words import TextWord
from sightline.blip.toy_heat import Demand, toy_heat_maps
from sightline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sightline.records import Precision
    from sightline.types import RGB

# Names version 1 of the formulas above: change it with them, or stored tokens would be wrong silently.
FINGERPRINT = "toy-1-f9a71d49982ce4395a5287751eefec1ab3c95ff20682dd657176ca06fb"

COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0, 0, 0), "white": (1, 1, 1), "red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1),
    "yellow": (1, 1, 0), "cyan": (0, 1, 1), "magenta": (1, 0, 1), "orange": (1, 0.5, 0),
    "purple": (0.5, 0, 0.5), "pink": (1, 0.5, 0.5), "brown": (0.5, 0.25, 0), "grey": (0.5, 0.5, 0.5),
    "gray": (0.5, 0.5, 0.5),
}  # fmt: skip
PLACES: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "top": (0, 1), "bottom": (0, -1)}
# Patches 1 to 4 in order: top left, top right, bottom left, bottom right.
QUADRANTS: tuple[tuple[int, int], ...] = ((-1, 1), (1, 1), (-1, -1), (1, -1))


class ToyMatcher:
    """A Matcher with formulas instead of weights (see the module); CPU, fp32, thread-safe."""

    fingerprint: str = FINGERPRINT
    patch_shape: tuple[int, int] = (5, 6)
    text_limit: int = 16
    device: torch.device = torch.device("cpu")
    matches_exactly: bool = True

    def preprocess(self, images: Sequence[RGB]) -> Tensor:
        """Mean colour of each quadrant: uint8 ``[H,W,3]`` pictures of any size to ``[B,3,2,2]`` in [0, 1]."""
        pixels = [torch.from_numpy(_quadrant_means(image)) for image in images]
        return torch.stack(pixels) if pixels else torch.empty(0, 3, 2, 2)

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """``[B,3,2,2]`` to ``[B,5,6]``: the whole, then the four quadrants."""
        quadrants = pixels.to(torch.float32).flatten(2).transpose(1, 2)  # [B,4,3]
        colours = torch.cat([quadrants.mean(dim=1, keepdim=True), quadrants], dim=1)  # [B,5,3]
        places = torch.tensor([(0, 0), *QUADRANTS], dtype=torch.float32).expand(len(pixels), 5, 2)
        return torch.cat([colours, places, torch.ones(len(pixels), 5, 1)], dim=2)

    def is_truncated(self, text: str) -> bool:
        """Whether ``text`` has more than 16 words, so that the rest is not looked at."""
        return len(words(text)) > self.text_limit

    def match(self, texts: Sequence[str], patches: Tensor | Latents, precision: Precision = "fast") -> Tensor:
        """Logits ``[K,2]``, always exact, of 1 or K texts and K pictures, ``[K,5,6]`` or compressed."""
        if isinstance(patches, Latents):
            patches = patches.patches()
        if len(texts) not in (1, len(patches)):
            raise InputError(f"Matching takes 1 text, or {len(patches)} for the images; not {len(texts)}.")
        wanted = [demands(words(text)[: self.text_limit]) for text in texts]
        if len(texts) == 1:
            wanted *= len(patches)
        colours = patches[:, :, :3].to(torch.float32)
        agreements = [_agreement(*pair) for pair in zip(wanted, colours, strict=True)]
        logits = torch.empty(len(patches), 2)
        logits[:, 0] = 2 * patches[:, 0, :3].to(torch.float32).mean(dim=1)
        logits[:, 1] = 8 * torch.tensor(agreements) - 4
        return logits


class ToyEncoder(ToyMatcher):
    """The same, and an Encoder, an Explainer and a StagedMatcher of two layers, of which the first sees
    colours and no places yet."""

    num_query_tokens: int = 4
    joint_dim: int = 8
    match_layers: int = 2
    match_width: int = 7

    def look(self, text: str, patches: Tensor | Latents, layers: int) -> PairStates:
        """Pairs of one text and K pictures after 1 or 2 layers: a row with both logits, which is judged, and
        behind it one for each demand, ``(r, g, b)`` and which of the four quadrants it may be in."""
        wanted = demands(words(text)[: self.text_limit])
        rows = [[*colour, *(float(row in where) for row in (1, 2, 3, 4))] for colour, where in wanted]
        text_D7 = torch.tensor(rows, dtype=torch.float32).reshape(-1, 7)
        states_K17 = torch.zeros(len(patches), 1, 7)
        hidden = torch.cat([states_K17, text_D7.expand(len(patches), -1, -1)], dim=1)
        return self.look_on(PairStates(hidden, 0, 1, 1), patches, layers)

    def look_on(self, states: PairStates, patches: Tensor | Latents, layers: int) -> PairStates:
        """The same pairs after ``layers`` layers."""
        if isinstance(patches, Latents):
            patches = patches.patches()
        hidden = states.hidden.clone()
        for row, colours in enumerate(patches[:, :, :3].to(torch.float32)):
            anywhere = layers < self.match_layers
            wanted = [_demand(one, anywhere) for one in states.hidden[row, 1:].tolist()]
            hidden[row, 0, 1] = _agreement(wanted, colours)
        hidden[:, 0, 0] = 2 * patches[:, 0, :3].to(torch.float32).mean(dim=1)
        hidden[:, 0, 1] = 8 * hidden[:, 0, 1] - 4
        kept = 1 if layers == self.match_layers else hidden.shape[1]
        return replace(states, hidden=hidden[:, :kept], layers=layers)

    def decide(self, states: PairStates) -> Tensor:
        """Logits ``[K,2]``: those of `match`."""
        return states.pooled()[:, :2]

    def words(self, text: str) -> tuple[TextWord, ...]:
        """Runs of letters and digits, as far as they are looked at."""
        spans = [one.span() for one in re.finditer(r"\w+", text)][: self.text_limit]
        return tuple(TextWord(start, end, (at + 1,)) for at, (start, end) in enumerate(spans))

    def heat_maps(self, text: str, patches: Tensor | Latents) -> HeatMaps:
        """Where its demands are met, as sightline/blip/toy_heat.py says."""
        whole = patches.patches() if isinstance(patches, Latents) else patches
        said = words(text)[: self.text_limit]
        colours_K53, logits_K2 = whole[:, :, :3].to(torch.float32), self.match([text], whole)
        return toy_heat_maps(self.words(text), demanding(said), demands(said), colours_K53, logits_K2)

    def encode_image(self, patches: Tensor) -> Tensor:
        """``[B,5,6]`` to four unit tokens ``[B,4,8]``."""
        colours, places = patches[:, 1:, :3].to(torch.float32), patches[:, 1:, 3:5].to(torch.float32)
        return normalize(torch.cat([colours, 1 - colours, places / 4], dim=2), dim=2)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors ``[T,8]``."""
        vectors = [_text_vector(words(text)[: self.text_limit]) for text in texts]
        return normalize(torch.tensor(vectors, dtype=torch.float32).reshape(-1, 8), dim=1)

    def patch_metric(self) -> Tensor:
        """``[6,6]``: the toy looks at patches as they are."""
        return torch.eye(6, dtype=torch.float64)


_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def words(text: str) -> list[str]:
    """The lower-cased runs of letters and digits; InputError for half a surrogate pair, as of BLIP-2."""
    if _HALF_A_PAIR.search(text):
        raise InputError("The text is not valid Unicode; it has half a surrogate pair in it.")
    return re.findall(r"\w+", text.lower())


def demands(text: Sequence[str]) -> list[Demand]:
    """The colours that the words ask for, each with the patch rows where it may be."""
    found: list[Demand] = []
    for position, word in enumerate(text):
        if word not in COLOURS:
            continue
        rows: tuple[int, ...] = (1, 2, 3, 4)
        for place in text[position + 1 :]:
            if place not in PLACES:
                break
            rows = tuple(row for row in rows if _lies(QUADRANTS[row - 1], PLACES[place]))
        found.append((COLOURS[word], rows or (1, 2, 3, 4)))  # "left right" is nowhere, so anywhere
    return found


def demanding(text: Sequence[str]) -> list[Demand | None]:
    """For each word the demand that it makes or narrows; None where it does neither."""
    left, found, current = iter(demands(text)), list[Demand | None](), None
    for word in text:
        if word in COLOURS:
            current = next(left)
        elif word not in PLACES:
            current = None
        found.append(current)
    return found


def _demand(row: Sequence[float], anywhere: bool) -> Demand:
    """What a row of states demands."""
    where = tuple(number for number in (1, 2, 3, 4) if anywhere or row[2 + number])
    return (row[0], row[1], row[2]), where


def _lies(quadrant: tuple[int, int], place: tuple[int, int]) -> bool:
    return all(wanted in (0, actual) for wanted, actual in zip(place, quadrant, strict=True))


def _agreement(wanted: Sequence[Demand], colours: Tensor) -> float:
    """Mean over the demands of the best quadrant's agreement; ``colours`` is ``[5,3]``."""
    if not wanted:
        return 0.5
    best = [
        max(1 - float((colours[row] - torch.tensor(colour)).abs().mean()) for row in rows)
        for colour, rows in wanted
    ]
    return sum(best) / len(best)


def _text_vector(text: Sequence[str]) -> list[float]:
    total = [sum(column) for column in zip(*map(_word_vector, text), strict=True)]
    return total if any(total) else _word_vector("")


def _word_vector(word: str) -> list[float]:
    if word in COLOURS:
        red, green, blue = COLOURS[word]
        return [red, green, blue, 1 - red, 1 - green, 1 - blue, 0, 0]
    if word in PLACES:
        x, y = PLACES[word]
        return [0, 0, 0, 0, 0, 0, x / 4, y / 4]
    digest = hashlib.sha256(word.encode()).digest()
    return [(byte - 127.5) / 2550 for byte in digest[:8]]


def _quadrant_means(image: RGB) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """``[3,2,2]`` in 256ths of 1; both halves of one row (or column) are that row."""
    height, width = image.shape[:2]
    rows = (slice(0, max(1, height // 2)), slice(min(height // 2, height - 1), height))
    columns = (slice(0, max(1, width // 2)), slice(min(width // 2, width - 1), width))
    means = np.array([[image[r, c].mean(axis=(0, 1)) for c in columns] for r in rows])  # [2,2,3]
    return (np.floor(means * 256 / 255 + 0.5) / 256).transpose(2, 0, 1).astype(np.float32)
