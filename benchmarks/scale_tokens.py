"""Tokens of collections of any size: real ones of the demo model, perturbed so that their structure stays.

*easy*: an image is a mixture of two pictures, so that images lie as near one another, and the tokens of an
image as near one another, as real ones do. *hard*: the redundancy within an image is removed: each four token
slots come from another picture, without most of what all pictures share. Both are the same for the same
seed, in any order of blocks.
Shapes: N images · P pictures · Q query tokens · D joint dim · M texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.scale_source import Source
from sightline.types import Half, Vector

Recipe = Literal["easy", "hard"]
RECIPES: Final[tuple[Recipe, ...]] = get_args(Recipe)
BLOCK: Final = 1000
"""Images that are made together."""
GROUPS: Final = 8
"""Pictures that a hard image's tokens come from."""
_VERSION: Final = 1
"""To be raised when the numbers that come out change."""
_PER_IMAGE: Final = 0.25
_PER_TOKEN: Final = 0.08
_HARD_NOISE: Final = 0.5
"""Lengths of what is added to tokens of length 1."""
_LESS_MEAN: Final = 0.9

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tokens:
    """One collection without an end."""

    source: Source
    recipe: Recipe
    seed: int = 0

    @property
    def id(self) -> str:
        """Names these very tokens: recipe, seed and source."""
        told = f"{_VERSION} {self.recipe} {self.seed} {self.source.id}"
        return f"{self.recipe}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"

    def block(self, number: int) -> Half:
        """fp16 ``[BLOCK,Q,D]``, unit rows: images ``number · BLOCK`` and following."""
        rng = np.random.default_rng([_VERSION, self.seed, RECIPES.index(self.recipe), number])
        return _unit(_RECIPES[self.recipe](self, rng)).astype(np.float16)

    @cached_property
    def pictures(self) -> Floats:
        """Tokens ``[P,Q,D]`` that images are made of."""
        tokens: Floats = self.source.tokens.astype(np.float32)
        return tokens

    @cached_property
    def distinct(self) -> Floats:
        """The same without most of what all have in common: unit rows."""
        return _unit(self.pictures - _LESS_MEAN * self.pictures.mean(axis=(0, 1)))


def _easy(tokens: Tokens, rng: np.random.Generator) -> Floats:
    pictures = tokens.pictures
    _, queries, dim = pictures.shape
    first, second = rng.integers(0, len(pictures), (2, BLOCK))
    weight = rng.uniform(0.5, 1.0, (BLOCK, 1, 1)).astype(np.float32)
    mixed: Floats = weight * pictures[first] + (1 - weight) * pictures[second]
    mixed += _noise(rng, (BLOCK, 1, dim), _PER_IMAGE)
    mixed += _noise(rng, (BLOCK, queries, dim), _PER_TOKEN)
    return mixed


def _hard(tokens: Tokens, rng: np.random.Generator) -> Floats:
    pictures = tokens.distinct
    queries = pictures.shape[1]
    chosen = rng.integers(0, len(pictures), (BLOCK, GROUPS))
    slots = np.arange(queries)
    taken: Floats = pictures[chosen[:, slots * GROUPS // queries], slots]
    taken += _noise(rng, taken.shape, _HARD_NOISE)
    return taken


_RECIPES: Final[Mapping[Recipe, Callable[[Tokens, np.random.Generator], Floats]]] = {
    "easy": _easy,
    "hard": _hard,
}


def _noise(rng: np.random.Generator, shape: tuple[int, ...], length: float) -> Floats:
    """Normal, of this length in all directions together."""
    return rng.standard_normal(shape, np.float32) * np.float32(length / np.sqrt(shape[-1]))


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


@dataclass(frozen=True)
class Structure:
    """Within an image, on average: ``cosine`` between its tokens; their ``rank``, effectively; how many of
    them ever are its best, over the ``texts`` that were asked.
    """

    cosine: float
    rank: float
    winners: float
    texts: int

    def __str__(self) -> str:
        return (
            f"mean cosine between an image's tokens {self.cosine:.2f}, effective rank {self.rank:.1f}, "
            f"{self.winners:.1f} tokens an image win for at least one of {self.texts} texts"
        )


def structure(tokens_NQD: Half, texts_MD: Vector) -> Structure:
    """What the tokens of an image have in common.

    Effective rank: the exponential of the entropy of the squared singular values' shares (Roy and Vetterli,
    "The effective rank", 2007).
    """
    tokens = tokens_NQD.astype(np.float32)
    count = tokens.shape[1]
    products = tokens @ tokens.transpose(0, 2, 1)
    cosine = (products.sum(axis=(1, 2)) - count) / (count * (count - 1))
    shares = np.linalg.eigvalsh(products.astype(np.float64)).clip(1e-12)
    shares /= shares.sum(axis=1, keepdims=True)
    rank = np.exp(-(shares * np.log(shares)).sum(axis=1))
    best = (tokens @ texts_MD.T).argmax(axis=1)
    winners = [len(np.unique(row)) for row in best]
    return Structure(float(cosine.mean()), float(rank.mean()), float(np.mean(winners)), len(texts_MD))
