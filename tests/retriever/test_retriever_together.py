"""Texts that are asked together get what each would get alone, whatever changes in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sightline.retriever.max_sim import Part, search
from sightline.retriever.together import Together
from sightline.store.flat.faiss_scan import CpuScan, copy_index
from sightline.store.flat.token_index import TokenIndex
from sightline.store.index import Rows
from sightline.types import Mask, Vector

IMAGES, QUERIES, DIM = 200, 8, 32


class Counted(TokenIndex):
    """Counts how often it is asked."""

    def candidates(
        self, vectors_TD: Vector, wanted: int, allowed: Mask | None, probes: int | None
    ) -> list[Rows]:
        ASKED.append(len(vectors_TD))
        return super().candidates(vectors_TD, wanted, allowed, probes)


ASKED: list[int] = []


def units(rng: np.random.Generator, *shape: int) -> Vector:
    made = rng.standard_normal(shape).astype(np.float32)
    unit: Vector = made / np.linalg.norm(made, axis=-1, keepdims=True)
    return unit


def index_of(seed: int) -> Counted:
    ASKED.clear()
    tokens = units(np.random.default_rng(seed), IMAGES, QUERIES, DIM).astype(np.float16)
    # Images that are alike in a row: a first prefix of the hits shows few of them, and is too short.
    tokens[: IMAGES // 2] = tokens[0]
    return Counted(np.arange(IMAGES, dtype=np.int64), tokens, (CpuScan(copy_index(tokens)),))


def best(part: Part, vectors: Sequence[Vector], images: int, together: Together | None) -> list[list[int]]:
    names = None if together is None else together.rows
    return [search(part, [], vector, images, names=names).keys.tolist() for vector in vectors]


@pytest.mark.parametrize("images", [1, 10, 150, IMAGES])
@pytest.mark.parametrize("share", [None, 0.3])
def test_together_as_alone_by_brute_force(images: int, share: float | None) -> None:
    rng = np.random.default_rng(5)
    index, vectors = index_of(1), units(rng, 6, DIM)
    allowed = None if share is None else rng.random(IMAGES) < share
    found = best(Part(index, allowed), vectors, images, Together(list(vectors), images))
    for vector, keys in zip(vectors, found, strict=True):
        scores = (index.tokens.astype(np.float64) @ vector).max(axis=1)
        order = [key for key in np.lexsort((index.keys, -scores)) if allowed is None or allowed[key]]
        alone = best(Part(index, allowed), [vector], images, None)
        assert alone == [keys]
        assert scores[keys].tolist() == pytest.approx(scores[order[:images]].tolist(), abs=1e-12)
    assert ASKED[0] == 6


def test_the_index_is_asked_once_for_all_and_again_when_it_is_another() -> None:
    first, vectors = index_of(1), list(units(np.random.default_rng(2), 4, DIM))
    together = Together([*vectors, vectors[0]], 10)
    before = best(Part(first), vectors[:2], 10, together)
    assert ASKED == [4]
    other = index_of(7)
    after = best(Part(other), vectors[2:], 10, together)
    assert ASKED == [4]
    some = np.arange(IMAGES) % 2 == 0
    filtered = best(Part(other, some), vectors[:1], 10, together)
    assert filtered == best(Part(other, some.copy()), vectors[:1], 10, together)
    assert ASKED == [4, 4]
    assert before == best(Part(first), vectors[:2], 10, None)
    assert after == best(Part(other), vectors[2:], 10, None)
    assert filtered == best(Part(other, some), vectors[:1], 10, None)


def test_another_number_of_images_or_another_text_is_asked_alone() -> None:
    index, vectors = index_of(1), list(units(np.random.default_rng(2), 3, DIM))
    together = Together(vectors[:2], 10)
    assert best(Part(index), vectors, 10, together)[2] == best(Part(index), vectors[2:], 10, None)[0]
    assert best(Part(index), vectors[:1], 25, together) == best(Part(index), vectors[:1], 25, None)
    assert ASKED == [2, 1, 1, 1, 1]
