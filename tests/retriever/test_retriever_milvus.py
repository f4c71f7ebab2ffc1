"""A collection whose index lies on a Milvus server: searched, filtered, grown, lost, away, synced."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sightline.blip.patch_formats import PatchFormats
from sightline.indexer.building.builder import Builder
from sightline.indexer.settings import BuilderSettings, IndexSettings
from sightline.retriever import Retriever
from sightline.store.backends import open_indexes
from sightline.store.blobs import BlobStore
from sightline.store.codec_files import CodecFiles
from sightline.store.filters import parse_filter
from sightline.store.index import BuildRequest, Indexes
from sightline.store.milvus import MilvusBackend, MilvusServer
from sightline.store.records import MILVUS, Generation
from sightline.store.sample_texts import SampleTexts
from sightline.upkeep.index_sync import IndexSync, Synced
from tests.retriever.living_collection import Living, living_collection
from tests.store.milvus_lite import milvus_backend, require_milvus, rows_of
from tests.store.token_world import brute_force, flat_tail, random_vector

AWAY = "The token index is missing or damaged; every image was compared in its place."


@dataclass
class House:
    """A living collection on a server, what looks after it, and what time it is."""

    living: Living
    backend: MilvusBackend
    now: float = 1_000.0

    def __post_init__(self) -> None:
        self.texts = np.stack([random_vector(self.living.rng) for _ in range(24)])
        self.use(self.backend)

    def use(self, backend: MilvusBackend) -> None:
        living, flat = self.living, open_indexes(self.living.generations).of("flat")
        self.indexes = living.indexes = Indexes({"flat": flat, MILVUS: backend}, MILVUS)
        living.retriever = Retriever(living.catalog, living.reader, self.indexes, clock=lambda: self.now)
        blobs = BlobStore(str(living.folder / "originals"))
        formats = PatchFormats(CodecFiles(living.reader.folder))
        settings = BuilderSettings(fold_idle_max_images=0, merge_at_least=10_000, rewrite_dead_fraction=1.0)
        self.builder = Builder(
            living.catalog, blobs, living.reader, self.indexes, formats, settings,
            monotonic=lambda: self.now, index=IndexSettings(MILVUS),
        )  # fmt: skip

    @property
    def serving(self) -> Generation:
        generation = self.living.catalog.snapshot("pictures").generation
        assert generation is not None
        return generation

    def fold(self, *, grow: bool) -> None:
        """As a builder does that has texts and grows what serves."""
        living, snapshot = self.living, self.living.catalog.snapshot("pictures")
        texts = SampleTexts("t", self.texts, np.zeros(len(self.texts), np.int8))
        serving = snapshot.generation if grow else None
        request = BuildRequest(snapshot.segments, snapshot.gone, serving, texts=texts)
        built = self.backend.build(living.reader, request)
        number = 0 if snapshot.generation is None else snapshot.generation.number
        generation = Generation(
            snapshot.collection.feature_set_id, number + 1, built.file, built.sha256, built.covered,
            built.images, 0.0, MILVUS, built.parameters,
        )  # fmt: skip
        assert living.catalog.publish_generation(living.id, number, generation)

    def sync(self) -> Synced:
        living = self.living
        return IndexSync(living.catalog, living.reader, self.indexes, self.builder.refold).run("pictures")

    def check(self, since: int | None = None) -> tuple[str, ...]:
        """Nearly all of the best are found with their exact scores; what the answer says that it lacks."""
        living, vector = self.living, random_vector(self.living.rng)
        ids = [one for one in living.keys if since is None or living.years[one] >= since]
        keys = np.array([living.keys[one] for one in ids])
        tokens = np.stack([living.tokens[one] for one in ids])
        condition = None
        if since is not None:
            condition = parse_filter({"field": "metadata.year", "range": {"gte": since}})
        found = living.retriever.retrieve("pictures", vector, 20, condition)
        exact = dict(brute_force(keys, tokens, vector, len(keys)))
        best = list(exact)[:20]
        assert [hit.itc for hit in found.candidates] == pytest.approx(
            [exact[hit.key] for hit in found.candidates], abs=1e-9
        )
        assert len({hit.key for hit in found.candidates} & set(best)) >= len(best) - 2
        return found.degraded


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """200 images in the first generation; the tests of this file are one life, in order."""
    require_milvus()
    folder: Path = tmp_path_factory.mktemp("house")
    with living_collection(folder, 0) as living:
        house = House(living, milvus_backend(living.generations))
        living.put([f"a{n}" for n in range(200)])
        house.fold(grow=False)
        yield house


def test_what_is_folded_is_found_with_filters_deletes_and_growth(house: House) -> None:
    living = house.living
    for since in (None, 2000, 2020):
        assert house.check(since) == ()
    found = living.retriever.retrieve("pictures", random_vector(living.rng), 5)
    assert found.recall == house.serving.parameters["recall"] > 0.9
    living.delete([f"a{n}" for n in range(30)])
    living.put([f"a{n}" for n in range(30, 50)])
    living.put([f"b{n}" for n in range(60)])
    first = house.serving
    for _ in range(2):
        for since in (None, 2020):
            assert house.check(since) == ()
        house.fold(grow=True)
    assert house.serving.number == first.number + 2
    assert house.serving.parameters["collection"] == first.parameters["collection"]


def test_a_lost_collection_is_done_without_and_synced(house: House) -> None:
    before = house.serving
    assert house.check() == ()
    assert house.sync().done == (False, 0, 0, 0)
    rows_of(house.backend, before.parameters["collection"]).drop()
    assert house.check() == (), "few enough to be compared at once"
    house.use(house.backend)  # another process opens it
    assert house.check() == (AWAY,)
    found = house.sync()
    assert found.agrees
    assert found.done == (True, before.images, 0, 0)
    assert (house.serving, found.rebuilt) == (before, False)
    house.now += 60
    assert house.check() == ()


def test_a_file_that_is_lost_here_is_built_anew(house: House) -> None:
    before = house.serving
    (house.living.generations / before.file).unlink()
    found = house.sync()
    assert (found.agrees, found.rebuilt, found.generation) == (True, True, before.number + 1)
    house.fold(grow=True)  # with texts
    assert house.check() == ()


def test_a_server_that_is_away_is_said_searched_without_and_waited_for(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    away = MilvusBackend(
        house.living.generations, MilvusServer("http://127.0.0.1:1", seconds=0.3), flat_tail, 16
    )
    house.use(away)
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            assert house.check() == (AWAY,)
    assert sum("cannot be reached" in record.message for record in caplog.records) == 1
    house.living.put(["c0"])
    caplog.clear()
    before = house.serving
    with caplog.at_level(logging.ERROR):
        assert house.builder.step() is not None
    assert any("cannot be tended now: Milvus at 127.0.0.1:1" in one.message for one in caplog.records)
    assert house.serving == before, "it is no damage"
    house.use(house.backend)
    assert house.check() == ()


def test_a_server_that_goes_while_an_index_is_open_costs_no_answer(house: House) -> None:
    assert house.check() == ()
    connection = house.backend._connection
    here, connection.server = connection.server, MilvusServer("http://127.0.0.1:1", seconds=0.3)
    client, connection._client = connection._client, None
    try:
        assert house.check() == (AWAY,)
        assert house.check(2010) == (AWAY,)
    finally:
        connection.server, connection._client = here, client
    house.now += 60
    assert house.check() == ()
