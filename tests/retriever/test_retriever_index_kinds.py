"""Retriever, builder and consistency with a kind of index that they have never heard of."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sightline.blip.patch_formats import PatchFormats
from sightline.indexer.building.builder import Builder, StepReport
from sightline.indexer.settings import BuilderSettings, IndexSettings
from sightline.retriever import Retriever
from sightline.store.blobs import BlobStore
from sightline.store.codec_files import CodecFiles
from sightline.store.filters import parse_filter
from sightline.store.index import Indexes
from sightline.store.records import Generation
from sightline.upkeep.consistency import Consistency
from tests.retriever.living_collection import Living, living_collection
from tests.store.sampled_index import SampledBackend, is_known
from tests.store.token_world import brute_force, random_vector


class NoFormats:
    """These segments keep no patches."""

    def of(self, codec: str, fingerprint: str) -> object:
        return codec


class House:
    """A living collection whose generations are sampled, and what looks after it."""

    def __init__(self, living: Living, sampled: Path) -> None:
        self.living, self.folder = living, sampled
        self.later = 0.0
        living.catalog.now = self.now
        self.use({**living.indexes.backends, "sampled": SampledBackend(sampled)}, "sampled")

    def use(self, backends: object, default: str) -> None:
        self.indexes = Indexes(backends, default)  # type: ignore[arg-type]
        living = self.living
        living.indexes, living.retriever = (
            self.indexes,
            Retriever(living.catalog, living.reader, self.indexes),
        )
        settings = BuilderSettings(merge_at_least=10_000, rewrite_dead_fraction=1.0, fold_idle_seconds=0.0)
        blobs = BlobStore(str(living.folder / "originals"))
        formats = PatchFormats(CodecFiles(living.reader.folder))
        self.builder = Builder(
            living.catalog, blobs, living.reader, self.indexes, formats, settings, monotonic=self.now,
            index=IndexSettings(default),
        )  # fmt: skip
        living.catalog.clock = self.now

    @property
    def files(self) -> list[str]:
        """Names of the generations in the folder."""
        return sorted(path.name for path in self.folder.glob("*.npz"))

    def now(self) -> float:
        return time.time() + self.later

    def step(self) -> StepReport:
        report = self.builder.step()
        assert report is not None
        return report

    @property
    def serving(self) -> Generation:
        generation = self.living.catalog.snapshot("pictures").generation
        assert generation is not None
        return generation

    def said(self) -> list[str]:
        living = self.living
        consistency = Consistency(living.catalog, living.reader, self.indexes, NoFormats())
        return consistency.disagreements(living.catalog.collection("pictures"))

    def check(self, images: int, since: int | None = None) -> None:
        """What is folded is found if the sample knows it, everything else in any case; scores are exact."""
        living = self.living
        vector = random_vector(living.rng)
        uncovered = living.catalog.snapshot("pictures").uncovered
        tail = {int(key) for segment in uncovered for key in living.reader.tokens(segment.file)[0]}
        ids = [i for i in sorted(living.keys) if since is None or living.years[i] >= since]
        ids = [i for i in ids if living.keys[i] in tail or is_known(np.array([living.keys[i]]))[0]]
        keys = np.array([living.keys[i] for i in ids])
        expected = brute_force(keys, np.stack([living.tokens[i] for i in ids]), vector, images)
        condition = parse_filter({"field": "metadata.year", "range": {"gte": since}}) if since else None
        found = living.retriever.retrieve("pictures", vector, images, condition).candidates
        assert [hit.key for hit in found] == [key for key, _ in expected]
        assert [hit.itc for hit in found] == pytest.approx([score for _, score in expected], abs=1e-9)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """200 images folded, 30 of them deleted and 20 replaced since, 40 new ones."""
    with living_collection(tmp_path, 0) as living:
        house = House(living, tmp_path / "sampled")
        living.put([f"a{n}" for n in range(200)])
        assert house.step().folded == 1
        living.delete([f"a{n}" for n in range(30)])
        living.put([f"a{n}" for n in range(30, 50)])
        living.put([f"b{n}" for n in range(40)])
        yield house


def test_the_builder_folds_into_the_default_kind_and_the_retriever_searches_it(house: House) -> None:
    assert house.serving.kind == "sampled"
    assert house.files == [house.serving.file]
    assert not house.living.generations.exists()
    for query in range(60):
        house.check((1, 10, 60, 500)[query % 4], (None, 2000, 2028)[query % 3])
    assert house.living.retriever.retrieve("pictures", random_vector(house.living.rng), 5).generation == 1
    assert house.said() == []


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_damage_is_named_and_the_builder_builds_it_again(
    house: House, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = house.folder / house.serving.file
    content = old.read_bytes()
    old.unlink()
    if damage == "changed":
        old.write_bytes(content[:-9] + b"\x55" + content[-8:])
    (said,) = house.said()
    assert old.name in said
    with caplog.at_level(logging.ERROR):
        house.living.check(10)  # everything is scanned, exactly
    assert any("must be built again" in record.message for record in caplog.records)
    house.use(house.indexes.backends, "sampled")  # a new builder reads the checksum at once
    assert house.step().folded == 1
    assert house.serving.number == 2
    assert house.said() == []
    house.check(20)


def test_what_was_replaced_or_is_nobodys_goes_after_its_time_of_grace(house: House) -> None:
    first = house.serving.file
    lost = house.folder / f".aside-{'0' * 32}.sampled.npz"
    lost.write_bytes(b"a build that was killed")
    assert house.builder.fold("pictures")
    for later in (500.0, 1000.0, 1500.0, 2000.0, 2500.0):
        house.later = later
        assert lost.exists()
        assert (first in house.files) is (later <= 1000.0)
        house.step()
    assert not lost.exists()
    assert house.files == [house.serving.file]
    assert house.serving.file != first
    house.check(20)


def test_another_kind_that_is_asked_for_takes_over_and_what_served_goes_after_its_time_of_grace(
    house: House,
) -> None:
    first = house.serving.file
    house.use(house.indexes.backends, "flat")
    house.check(20)
    assert house.step().folded == 1
    assert (house.serving.kind, house.serving.number) == ("flat", 2)
    house.living.check(20)
    assert house.files == [first]
    house.later = 1000.0
    house.step()
    assert house.files == []
    assert house.said() == []
    house.living.catalog.set_index_kind(house.living.id, "sampled")  # one collection's own
    assert house.step().folded == 1
    assert (house.serving.kind, house.serving.number) == ("sampled", 3)
    house.check(20)
    assert house.step().folded == 0


def test_a_kind_that_this_installation_does_not_know_is_scanned_exactly_and_left_alone(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    before = house.serving
    house.use({"flat": house.indexes.backends["flat"]}, "flat")
    with caplog.at_level(logging.ERROR):
        for _ in range(20):
            house.living.check(20)
    assert sum("no index of kind 'sampled'" in record.message for record in caplog.records) == 1
    (said,) = house.said()
    assert "no index of kind 'sampled'" in said
    assert house.step().folded == 0
    assert house.serving == before
    assert house.files == [before.file]


def test_a_fold_that_comes_second_leaves_nothing_of_its_kind(house: House) -> None:
    old = house.living.catalog.snapshot("pictures")
    assert house.builder.fold("pictures")
    before = set(house.folder.iterdir())
    assert not house.builder._folding.fold(old)
    assert set(house.folder.iterdir()) == before
