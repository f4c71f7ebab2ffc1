"""A retriever that misses nothing beside one that may: both over the same approximate generation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline.retriever import Retriever
from sightline.retriever.exact import ExactCatalog
from sightline.store.filters import parse_filter
from sightline.store.index import Indexes
from sightline.store.records import Generation
from tests.retriever.living_collection import Living, living_collection
from tests.store.sampled_index import SampledBackend, is_known
from tests.store.token_world import random_vector


def fold_sampled(living: Living, backend: SampledBackend) -> None:
    """As the builder does, into a kind that knows half of the images."""
    living.indexes = Indexes({**living.indexes.backends, "sampled": backend}, "sampled")
    snapshot = living.catalog.snapshot("pictures")
    from sightline.store.index import BuildRequest

    built = backend.build(living.reader, BuildRequest(snapshot.segments, snapshot.gone))
    generation = Generation(
        snapshot.collection.feature_set_id, 1, built.file, built.sha256, built.covered, built.images, 0.0,
        kind="sampled",
    )  # fmt: skip
    assert living.catalog.publish_generation(living.id, 0, generation)


def test_it_finds_what_the_approximate_index_misses_and_says_so(tmp_path: Path) -> None:
    with living_collection(tmp_path, 3) as living:
        living.put([f"a{n}" for n in range(150)])
        fold_sampled(living, SampledBackend(tmp_path / "sampled"))
        living.put([f"b{n}" for n in range(20)])
        living.delete([f"a{n}" for n in range(10)])
        approximate = Retriever(living.catalog, living.reader, living.indexes)
        living.retriever = Retriever(
            ExactCatalog(living.catalog, living.indexes), living.reader, living.indexes, tail_bytes=1
        )
        for query in range(20):
            living.check((1, 10, 60, 500)[query % 4], (None, 2000)[query % 2])  # against brute force
        vector = random_vector(living.rng)
        some, every = (
            one.retrieve("pictures", vector, 160) for one in (approximate, living.retriever)
        )  # fmt: skip
        assert (some.approximate, some.recall) == (True, 0.5)
        assert (every.approximate, every.recall, every.degraded) == (False, None, ())
        missed = {one.key for one in every.candidates} - {one.key for one in some.candidates}
        assert missed
        assert not is_known(np.array(sorted(missed))).any()
        scores = {one.key: one.itc for one in every.candidates}
        assert all(scores[one.key] == one.itc for one in some.candidates)


def test_an_exact_generation_is_searched_as_ever(tmp_path: Path) -> None:
    with living_collection(tmp_path, 4) as living:
        living.put([f"a{n}" for n in range(60)])
        living.fold()
        living.retriever = Retriever(
            ExactCatalog(living.catalog, living.indexes), living.reader, living.indexes
        )
        found = living.retriever.retrieve("pictures", random_vector(living.rng), 5)
        assert (found.generation, found.approximate) == (1, False)
        living.check(10, 2000)


def test_a_filter_is_kept_by_both(tmp_path: Path) -> None:
    with living_collection(tmp_path, 5) as living:
        living.put([f"a{n}" for n in range(80)])
        fold_sampled(living, SampledBackend(tmp_path / "sampled"))
        condition = parse_filter({"field": "metadata.year", "range": {"gte": 2010}})
        exact = Retriever(ExactCatalog(living.catalog, living.indexes), living.reader, living.indexes)
        found = exact.retrieve("pictures", random_vector(living.rng), 500, condition)
        expected = {living.keys[name] for name, year in living.years.items() if year >= 2010}
        assert {one.key for one in found.candidates} == expected


@pytest.mark.parametrize("kind", ["sampled", "of another house"])
def test_the_catalog_it_sees_has_no_generation_that_may_miss_images(tmp_path: Path, kind: str) -> None:
    with living_collection(tmp_path, 6) as living:
        living.put([f"a{n}" for n in range(20)])
        fold_sampled(living, SampledBackend(tmp_path / "sampled"))
        seen = ExactCatalog(living.catalog, living.indexes)
        whole = living.catalog.snapshot("pictures")
        assert whole.generation is not None
        whole = replace(whole, generation=replace(whole.generation, kind=kind))
        assert seen.snapshot("pictures").generation is None
        assert seen.snapshot("pictures").uncovered == whole.segments
        assert seen.version("pictures") == living.catalog.version("pictures")
