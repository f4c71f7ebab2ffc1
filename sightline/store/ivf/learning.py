"""What is learned before the first part is written: which tokens are kept, cells, and the codec."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sightline.errors import InputError
from sightline.store.ivf.lists import train_cells, train_codec
from sightline.store.ivf.pruning import IMAGES_AT_ONCE, NEVER, prune
from sightline.store.ivf.trained import Trained, random_rotation
from sightline.store.sample_texts import GENERAL, held_out

if TYPE_CHECKING:
    from sightline.store.ivf.lists import Floats
    from sightline.store.living_images import Images
    from sightline.store.sample_texts import SampleTexts

FEWEST_TEXTS: Final = 8
TEXTS_AT_FIRST: Final = 512
"""Texts that choose tokens in a collection of `IMAGES_AT_FIRST` images; their number grows with its root."""
IMAGES_AT_FIRST: Final = 12_500
POINTS_PER_CELL: Final = 32
"""Tokens of the sample for each cell."""
SAMPLE_AT_LEAST: Final = 20_000
SAMPLE_AT_MOST: Final = 80_000
"""Images."""
TOKENS_PER_CELL: Final = 200
"""Fewer cost more for each cell that is looked at than they save in tokens."""
MOST_CELLS: Final = 1 << 14
"""The predictor is read in full for each query: 16 MB."""
APART: Final = 0.9
"""Tokens whose cosine with all that are kept is lower are kept too, where texts may not be like queries."""


class Texts(NamedTuple):
    """Texts to learn from ``[M,D]``, texts to measure with ``[T,D]``, and how to keep other tokens."""

    learned: Floats
    held_out: Floats
    apart: float


@dataclass(frozen=True)
class Sample:
    """Kept tokens ``[n,D]`` of some images, and how many tokens are kept of an image."""

    vectors: Floats
    per_image: float


def divide(texts: SampleTexts | None, images: int, attempt: int = 0) -> Texts:
    """Held out are some of each origin. `InputError` when there are too few texts to learn from any.

    A second attempt takes four times the texts and keeps tokens that lie apart as well. So does the first
    with general sentences alone: queries may be unlike them.
    """
    if texts is None or len(texts.vectors) < FEWEST_TEXTS:
        raise InputError(
            f"An approximate index learns from sample texts, at least {FEWEST_TEXTS} of them: let a worker "
            "write those of this collection, or choose the flat index."
        )
    measuring = held_out(texts.origins)
    most = round(4**attempt * TEXTS_AT_FIRST * math.sqrt(max(1.0, images / IMAGES_AT_FIRST)))
    learned = texts.vectors[~measuring][:most]
    apart = APART if attempt or (texts.origins == GENERAL).all() else NEVER
    return Texts(
        np.ascontiguousarray(learned, np.float32),
        np.ascontiguousarray(texts.vectors[measuring], np.float32),
        apart,
    )


def learn(kind: str, images: Images, texts: Texts, seed: int = 0) -> Trained:
    """From a sample of the images. Errors as `Images.batches`."""
    sample = take_sample(images, texts, seed)
    dim = images.dim
    rotation = random_rotation(dim, seed)
    turned = sample.vectors @ rotation
    cells = cells_for(len(images) * sample.per_image, len(turned))
    points = _some(turned, cells * POINTS_PER_CELL, seed)
    centroids = train_cells(points, cells, seed)
    codec = train_codec(kind, centroids, points)
    return Trained(kind, rotation, centroids, codec, texts.learned, texts.held_out, texts.apart, len(images))


def cells_for(tokens: float, sampled: int) -> int:
    """A power of two that gives each a fair share of all tokens, and enough of the sampled ones."""
    wanted: int = 2 ** round(math.log2(max(1.0, tokens / TOKENS_PER_CELL)))
    enough: int = 2 ** int(math.log2(max(1.0, sampled / 8)))
    return min(wanted, enough, MOST_CELLS)


def take_sample(images: Images, texts: Texts, seed: int) -> Sample:
    """As many images as the cells will need."""
    chosen = images.sample(max(SAMPLE_AT_LEAST, min(SAMPLE_AT_MOST, len(images) // 5)), seed)
    nothing = texts.held_out[:0]
    found = []
    for batch in chosen.batches():
        for start in range(0, len(batch.keys), IMAGES_AT_ONCE):
            some = batch.tokens[start : start + IMAGES_AT_ONCE]
            pruned = prune(some, texts.learned, nothing, texts.apart)
            found.append(pruned.tokens[pruned.kept])
    vectors = np.concatenate(found)
    return Sample(vectors, len(vectors) / len(chosen))


def _some(vectors: Floats, count: int, seed: int) -> Floats:
    if count >= len(vectors):
        return vectors
    return vectors[np.sort(np.random.default_rng(seed).choice(len(vectors), count, replace=False))]
