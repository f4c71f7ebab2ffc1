"""Random tokens, and the slow exact answer to compare with. Shared by the tests of store and retriever."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.store.sample_texts import CAPTIONS, SampleTexts
from sightline.store.segments import SegmentReader, write_segment


@dataclass(frozen=True)
class Published:
    """As much of a published segment as a build needs."""

    id: int
    file: str


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def random_tokens(rng: np.random.Generator, images: int, queries: int = 4, dim: int = 16) -> np.ndarray:
    """fp16 ``[N,Q,D]``. Every fifth image has the tokens of another one, so that scores tie."""
    # Tokens of one image lie near one another, as in real life: the best images own many of the best tokens.
    centres = rng.standard_normal((images, 1, dim))
    tokens = unit(centres + 0.7 * rng.standard_normal((images, queries, dim))).astype(np.float16)
    tokens[4::5] = tokens[rng.integers(0, images, len(tokens[4::5]))]
    return tokens


def random_vector(rng: np.random.Generator, dim: int = 16) -> np.ndarray:
    return unit(rng.standard_normal(dim))


def random_texts(rng: np.random.Generator, count: int, dim: int = 16) -> SampleTexts:
    """Texts of no images in particular."""
    return SampleTexts("random", unit(rng.standard_normal((count, dim))), np.full(count, CAPTIONS, np.int8))


def brute_force(
    keys: np.ndarray, tokens: np.ndarray, vector: np.ndarray, images: int, allowed: set[int] | None = None
) -> list[tuple[int, float]]:
    """(key, score) of the best images: every product in fp64, sorted in Python by (−score, key)."""
    scores = (tokens.astype(np.float64, copy=False) @ vector.astype(np.float64)).max(axis=1)
    # Rounded, because the last bit of a product depends on where its row lies in the matrix.
    pairs = zip(keys.tolist(), np.round(scores, 12).tolist(), strict=True)
    found = [(key, score) for key, score in pairs if allowed is None or key in allowed]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:images]


def write_segments(
    folder: Path, keys: np.ndarray, tokens: np.ndarray, size: int, first_id: int = 1
) -> tuple[SegmentReader, list[Published]]:
    """Segments of ``size`` images without patches."""
    published = []
    for start in range(0, len(keys), size):
        rows = slice(start, start + size)
        written = write_segment(folder, keys[rows], tokens[rows], None, "none")
        published.append(Published(first_id + len(published), written.file))
    return SegmentReader(folder), published
