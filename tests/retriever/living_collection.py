"""A real collection that lives: images come, go, are replaced, folded and merged. It knows what is true."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sightline.retriever import Retriever
from sightline.store.backends import open_indexes
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.filters import parse_filter
from sightline.store.index import BuildRequest
from sightline.store.records import Generation
from sightline.store.segments import SegmentReader, rewrite_segment, write_segment
from sightline.store.work_records import Registration
from tests.store.token_world import brute_force, random_tokens, random_vector

QUERIES, DIM = 4, 16


@dataclass
class Living:
    """One collection, "pictures", and the tokens of its live images by image id."""

    folder: Path
    catalog: Catalog
    rng: np.random.Generator
    queries: int = QUERIES
    dim: int = DIM
    keys: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, np.ndarray] = field(default_factory=dict)
    years: dict[str, int] = field(default_factory=dict)
    _contents: Iterator[int] = field(default_factory=itertools.count)
    _truth: tuple[list[str], np.ndarray, np.ndarray] | None = None

    def __post_init__(self) -> None:
        self.catalog.create_collection(
            "pictures", model="toy", revision=None, fingerprint="f1",
            num_query_tokens=self.queries, joint_dim=self.dim,
        )  # fmt: skip
        self.reader = SegmentReader(self.folder / "segments", max_open=8)
        self.generations = self.folder / "generations"
        self.indexes = open_indexes(self.generations)
        self.retriever = Retriever(self.catalog, self.reader, self.indexes)

    @property
    def id(self) -> int:
        return self.catalog.collection("pictures").id

    # --- what happens to a collection -------------------------------------------------------------

    def put(self, ids: list[str], batch_size: int = 50) -> None:
        """Index these ids with new bytes: new ones are added, known ones replaced."""
        job = self.catalog.create_job(self.id, "index", {})
        items = [self._registration(image_id) for image_id in ids]
        tasks = self.catalog.register(job.id, items, batch_size=batch_size).task_ids
        self.catalog.seal_job(job.id)
        for task in tasks:
            self._publish(task)

    def _registration(self, image_id: str) -> Registration:
        content = f"{image_id} {next(self._contents)}"
        self.years[image_id] = int(self.rng.integers(1990, 2030))
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        return Registration(image_id, sha256, f"/{image_id}", 1, None, {"year": self.years[image_id]})

    def _publish(self, task: int) -> None:
        lease = self.catalog.acquire(task, "worker", 60)
        assert lease is not None
        tokens = random_tokens(self.rng, len(lease.images), self.queries, self.dim)
        keys = np.array([image.key for image in lease.images])
        written = write_segment(self.reader.folder, keys, tokens, None, "none")
        assert self.catalog.publish(lease, written, sizes={int(key): (4, 3) for key in keys})
        for image, token in zip(lease.images, tokens, strict=True):
            self.keys[image.image_id], self.tokens[image.image_id] = image.key, token
        self._truth = None

    def delete(self, ids: list[str]) -> None:
        """Every second time for good, so that files are met which hold the trash, and such as do not."""
        assert self.catalog.delete_images(self.id, ids=ids) == len(ids)
        if next(self._contents) % 2:
            self.catalog.empty_trash(self.id)
        for image_id in ids:
            del self.keys[image_id], self.tokens[image_id], self.years[image_id]
        self._truth = None

    def fold(self) -> None:
        """Build the next generation over all segments, as the builder does."""
        snapshot = self.catalog.snapshot("pictures")
        segments = snapshot.segments
        built = self.indexes.of().build(self.reader, BuildRequest(segments, snapshot.gone))
        number = snapshot.generation.number if snapshot.generation else 0
        feature_set = snapshot.collection.feature_set_id
        generation = Generation(
            feature_set, number + 1, built.file, built.sha256, built.covered, built.images, 0.0
        )
        assert self.catalog.publish_generation(self.id, number, generation)

    def merge(self, covered: bool, count: int = 3) -> None:
        """Merge some segments of one kind, dropping what is gone, and remove the old files at once."""
        snapshot = self.catalog.snapshot("pictures")
        old = (snapshot.covered if covered else snapshot.uncovered)[:count]
        if not old:
            return
        keys = np.concatenate([self.reader.tokens(segment.file)[0] for segment in old])
        alive = np.setdiff1d(keys, snapshot.gone)
        new = rewrite_segment(self.reader, old, alive) if len(alive) else None
        assert self.catalog.replace_segments(self.id, [segment.id for segment in old], new)
        for segment in old:
            self.reader.forget(segment.file)
            (self.reader.folder / segment.file).unlink()

    # --- what must be answered --------------------------------------------------------------------

    def check(self, images: int, since: int | None = None) -> None:
        """One random query (of images whose year is at least ``since``) against brute force."""
        vector = random_vector(self.rng, self.dim)
        ids, keys, tokens = self._live()
        chosen = None if since is None else {self.keys[i] for i in ids if self.years[i] >= since}
        expected = brute_force(keys, tokens, vector, images, chosen) if ids else []
        condition = None
        if since is not None:
            condition = parse_filter({"must": [{"field": "metadata.year", "range": {"gte": since}}]})
        found = self.retriever.retrieve("pictures", vector, images, condition)
        assert [c.key for c in found.candidates] == [key for key, _ in expected]
        assert np.allclose([c.itc for c in found.candidates], [s for _, s in expected], rtol=0, atol=1e-6)
        assert [c.itc_rank for c in found.candidates] == list(range(1, len(expected) + 1))
        assert found.images == len(ids if chosen is None else chosen)

    def _live(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Ids, keys and tokens (fp64) of what is live, kept between changes."""
        if self._truth is None:
            ids = sorted(self.keys)
            tokens = np.stack([self.tokens[i] for i in ids]).astype(np.float64) if ids else np.empty(0)
            self._truth = ids, np.array([self.keys[i] for i in ids]), tokens
        return self._truth


@contextmanager
def living_collection(folder: Path, seed: int, queries: int = QUERIES, dim: int = DIM) -> Iterator[Living]:
    """Checks the catalog's invariants at the end."""
    catalog = open_catalog(f"sqlite:///{folder / 'catalog.sqlite'}")
    try:
        yield Living(folder, catalog, np.random.default_rng(seed), queries, dim)
        assert catalog.check() == []
    finally:
        catalog.close()
