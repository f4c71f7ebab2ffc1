"""A sample of what was asked: kept where that is set, as vectors, and gone when it is turned off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from sightline.indexer.embedding.text_sampling import TextSampling
from sightline.indexer.heartbeat import Pulse
from sightline.records import SearchRequest
from sightline.searching.query_samples import MOST, REMEMBERED, WRITE_SECONDS, QuerySamples, sampled
from sightline.searching.search import Search
from sightline.store.sample_texts import QUERIES, SampleTexts
from sightline.wiring import Installation
from tests.sightline.conftest import index, save


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def kept(services: Installation) -> SampleTexts | None:
    collection = services.catalog.collection("pictures")
    return services.sample_texts.queries(collection.fingerprint, collection.id)


def asking(services: Installation, folder: Path, clock: Clock) -> QuerySamples:
    """A server's, of which the test is the thread."""
    save(folder, "red", "red")
    index(services, folder)
    return QuerySamples(services.sample_texts, clock, keeps=True)


def test_searches_are_noted_only_where_that_is_set(services: Installation, tmp_path: Path) -> None:
    save(tmp_path / "pictures", "red", "red")
    index(services, tmp_path / "pictures")
    services.search.find(SearchRequest("pictures", "red"))
    services.query_samples.tend(0.0)
    assert kept(services) is None


def test_every_search_tells_its_vector(services: Installation, tmp_path: Path) -> None:
    save(tmp_path / "pictures", "red", "red")
    index(services, tmp_path / "pictures")
    heard: list[np.ndarray] = []
    search = Search(replace(services.search_parts, asked=lambda collection, vector: heard.append(vector)))
    search.find(SearchRequest("pictures", "red"))
    model = services.models.encoder(services.catalog.collection("pictures"))
    assert [one.tolist() for one in heard] == model.encode_text(["red"]).tolist()


def test_what_was_asked_is_kept_as_vectors_after_a_while(services: Installation, tmp_path: Path) -> None:
    clock = Clock()
    samples = asking(services, tmp_path / "pictures", clock)
    collection = services.catalog.collection("pictures")
    vectors = np.eye(8, dtype=np.float32)
    for vector in vectors[:5]:
        samples.note(collection, vector)
    samples.tend(0.0)
    assert kept(services) is None
    clock.now += WRITE_SECONDS
    samples.tend(0.0)
    found = kept(services)
    assert found is not None
    assert (found.vectors.tolist(), found.images) == (vectors[:5].tolist(), 5)
    assert set(found.origins.tolist()) == {QUERIES}
    assert b"red" not in b"".join(
        path.read_bytes() for path in services.settings.segments_folder.rglob("*/queries/*")
    )


def test_a_purge_takes_them_and_those_that_wait(services: Installation, tmp_path: Path) -> None:
    clock = Clock()
    samples = asking(services, tmp_path / "pictures", clock)
    collection = services.catalog.collection("pictures")
    for _ in range(2):
        samples.note(collection, np.eye(8, dtype=np.float32)[0])
        samples.tend(0.0)
        clock.now += WRITE_SECONDS / 2
    samples.tend(0.0)
    assert kept(services) is not None
    samples.note(collection, np.eye(8, dtype=np.float32)[1])
    samples.tend(0.0)
    services.purging.images("pictures", ["red.png"])
    clock.now += WRITE_SECONDS
    samples.tend(0.0)
    assert kept(services) is None


def test_a_worker_deletes_them_where_they_may_not_be_kept(services: Installation, tmp_path: Path) -> None:
    clock = Clock()
    samples = asking(services, tmp_path / "pictures", clock)
    collection = services.catalog.collection("pictures")
    samples.note(collection, np.eye(8, dtype=np.float32)[0])
    samples.tend(0.0)
    clock.now += WRITE_SECONDS
    samples.tend(0.0)
    parts = services.indexer._parts
    TextSampling(parts, services.sample_texts, keeps_queries=True).tend(collection, Pulse())
    assert kept(services) is not None
    TextSampling(parts, services.sample_texts).tend(collection, Pulse())
    assert kept(services) is None


def test_the_sample_is_bounded_and_even() -> None:
    def numbered(first: int, last: int) -> list[np.ndarray]:
        return [np.array([number, 1], np.float32) for number in range(first, last)]

    known = None
    for start in range(0, 3 * MOST, 500):
        known = sampled(known, numbered(start, start + 500))
    assert known is not None
    assert (len(known.vectors), known.images) == (MOST, 3 * MOST)
    thirds, _ = np.histogram(known.vectors[:, 0], bins=3, range=(0, 3 * MOST))
    assert abs(thirds - MOST / 3).max() < MOST / 10  # seven standard deviations
    for start in range(3 * MOST, 2 * REMEMBERED, 5_000):
        known = sampled(known, numbered(start, start + 5_000))
    assert (len(known.vectors), known.images) == (MOST, REMEMBERED)
