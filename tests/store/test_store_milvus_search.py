"""How a Milvus generation asks a server, against one of our own that is exact and answers with little."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import IndexUnavailableError
from sightline.retriever.max_sim import Part, search
from sightline.store.milvus.connection import LostRowsError
from sightline.store.milvus.manifest import Manifest, Named
from sightline.store.milvus.milvus_index import Effort, MilvusIndex
from sightline.store.milvus.token_rows import MOST_HITS
from sightline.types import Keys, Vector
from tests.store.token_world import (
    brute_force,
    flat_tail,
    random_tokens,
    random_vector,
    stored_tokens,
    write_segments,
)

IMAGES, QUERIES, DIM = 3_000, 8, 16


@dataclass
class ExactRows:
    """What a server holds: rows by key and vector; it looks only into so many of 8 cells."""

    keys: np.ndarray
    vectors: np.ndarray
    asked: list[tuple[int, int, str]] = field(default_factory=list)
    fails: Exception | None = None

    def search(self, vector_D: Vector, hits: int, probes: int, expression: str) -> Keys:
        assert hits <= MOST_HITS
        self.asked.append((hits, probes, expression))
        if self.fails is not None:
            raise self.fails
        may = np.arange(len(self.keys)) // QUERIES % 8 < probes
        for part in [one.strip("()") for one in expression.split(" and ") if one]:
            named, listed = part.split(" in ")
            inside = np.isin(self.keys, ast.literal_eval(listed))
            may &= ~inside if named.endswith("not") else inside
        scores = np.where(may, self.vectors @ vector_D, -np.inf)
        order = np.argsort(-scores, kind="stable")[: min(hits, int(may.sum()))]
        return self.keys[order]


@dataclass
class World:
    """3,000 images of 8 tokens, some rows of the dead and of others besides."""

    keys: np.ndarray
    tokens: np.ndarray
    rows: ExactRows
    index: MilvusIndex

    def found(self, vector: np.ndarray, wanted: int, allowed: np.ndarray | None) -> list[tuple[int, float]]:
        hits = search(Part(self.index, allowed), [], vector, wanted)
        return list(zip(hits.keys.tolist(), np.round(hits.scores, 12).tolist(), strict=True))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("milvus")
    rng = np.random.default_rng(0)
    keys = rng.permutation(np.arange(0, 5 * IMAGES, 5))
    tokens = random_tokens(rng, IMAGES, QUERIES, DIM)
    reader, segments = write_segments(folder, keys, tokens, 500)
    strange = np.concatenate([keys, keys[:200], np.arange(1, 5 * 200, 5)])  # twice; and of nobody
    vectors = np.concatenate([tokens, tokens[:200], tokens[:200]]).astype(np.float32).reshape(-1, DIM)
    rows = ExactRows(np.repeat(strange, QUERIES), vectors)
    named = Named("c", (1,), QUERIES, DIM, "exact", nlist=8, probes=8, fetch=16, recall=1.0)
    manifest = Manifest(named, keys, np.empty(0, np.int64))
    index = MilvusIndex(manifest, rows, stored_tokens(reader, segments), flat_tail, Effort(8, 16), 16)  # type: ignore[arg-type]
    return World(keys, tokens, rows, index)


@pytest.mark.parametrize("share", [None, 0.004, 0.01, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("wanted", [1, 20, 100])
def test_whoever_is_allowed_is_found_however_many_rows_others_own(
    world: World, share: float | None, wanted: int
) -> None:
    rng = np.random.default_rng(1)
    for _ in range(3):
        vector = random_vector(rng, DIM)
        allowed = None if share is None else rng.random(IMAGES) < share
        few = None if allowed is None else set(world.keys[allowed].tolist())
        expected = brute_force(world.keys, world.tokens, vector, wanted, few)
        assert [key for key, _ in world.found(vector, wanted, allowed)] == [key for key, _ in expected]


@pytest.mark.parametrize("wanted", [1_500, 2_200, 2_900, 5_000])
def test_any_number_can_be_wanted_up_to_everything(world: World, wanted: int) -> None:
    vector = random_vector(np.random.default_rng(2), DIM)
    world.rows.asked.clear()
    expected = brute_force(world.keys, world.tokens, vector, wanted)
    assert [key for key, _ in world.found(vector, wanted, None)] == [key for key, _ in expected]
    again = [expression for _, _, expression in world.rows.asked if "not in" in expression]
    assert bool(again) is (wanted == 2_200), "more rows than one answer holds: without those that were seen"


def test_few_are_compared_without_asking_and_many_are_dropped_here(world: World) -> None:
    vector, asked = random_vector(np.random.default_rng(3), DIM), world.rows.asked
    asked.clear()
    world.found(vector, 5, np.arange(IMAGES) < 16)
    assert asked == []
    world.found(vector, 5, np.arange(IMAGES) < 40)
    assert [expression.count(",") for _, _, expression in asked] == [39]
    asked.clear()
    world.found(vector, 5, np.arange(IMAGES) > 40)
    assert {expression for _, _, expression in asked} == {""}


def test_cells_that_hold_too_few_make_it_look_into_more(world: World) -> None:
    vector, asked = random_vector(np.random.default_rng(4), DIM), world.rows.asked
    asked.clear()
    (rows,) = world.index.candidates(vector[None], 1_900, None, 1)
    assert len(np.unique(rows // QUERIES)) >= 1_900
    assert [probes for _, probes, _ in asked] == sorted(probes for _, probes, _ in asked)
    assert asked[0][1] == 1
    assert asked[-1][1] > 1


def test_rows_that_are_gone_are_done_without_and_a_server_that_is_away_is_said(world: World) -> None:
    vector = random_vector(np.random.default_rng(5), DIM)
    expected = brute_force(world.keys, world.tokens, vector, 30)
    try:
        world.rows.fails = LostRowsError("gone.")
        assert [key for key, _ in world.found(vector, 30, None)] == [key for key, _ in expected]
        world.rows.fails = IndexUnavailableError("away.")
        with pytest.raises(IndexUnavailableError, match="away"):
            world.found(vector, 30, None)
    finally:
        world.rows.fails = None
