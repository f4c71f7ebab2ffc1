"""A living collection that a builder tends, with kinds of index that a test chooses.

``python -m tests.indexer.growing FOLDER`` runs one pass of a builder there, in a process that may be killed.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sightline.blip.patch_formats import PatchFormats
from sightline.indexer.building.builder import Builder, StepReport
from sightline.indexer.building.purging import Purging
from sightline.indexer.settings import BuilderSettings, IndexSettings
from sightline.retriever import Retriever
from sightline.store.blobs import BlobStore
from sightline.store.catalog import Catalog, open_catalog
from sightline.store.codec_files import CodecFiles
from sightline.store.index import IndexBackend, Indexes
from sightline.store.records import FLAT, IVF_RABITQ, IVF_SQ8, Generation
from sightline.store.segments import SegmentReader
from tests.retriever.living_collection import Living
from tests.store.parted_index import PartedBackend, Texts, texts
from tests.store.token_world import random_vector

SMALL = IndexSettings(approximate_from=60)
SETTINGS = {"fold_min_images": 20, "fold_idle_max_images": 0, "merge_at_least": 4, "clean_seconds": 0.0}


class Growing:
    """Approximate from 60 images on, folded at more than 20 unfolded ones, merged by fours."""

    def __init__(self, living: Living, index: IndexSettings = SMALL) -> None:
        self.living = living
        self.index = index
        self.texts = Texts(texts())
        self.later = 0.0
        self.sq8 = PartedBackend(living.generations, IVF_SQ8)
        self.rabitq = PartedBackend(living.generations, IVF_RABITQ)
        flat = living.indexes.of(FLAT)
        self.use({FLAT: flat, IVF_SQ8: self.sq8, IVF_RABITQ: self.rabitq})
        living.catalog.clock = self.now

    def use(self, backends: Mapping[str, IndexBackend]) -> None:
        """These backends, with a retriever and a builder that know nothing yet."""
        self.indexes = Indexes(backends, FLAT)
        living = self.living
        living.indexes = self.indexes
        living.retriever = Retriever(living.catalog, living.reader, self.indexes)
        self.builder = self.another_builder()

    def another_builder(self, catalog: Catalog | None = None, **changes: Any) -> Builder:
        catalog = catalog or self.living.catalog
        source = self.texts
        return builder(catalog, self.living.folder, self.indexes, self.index, source, self.now, **changes)

    def purging(self) -> Purging:
        living = self.living
        blobs = BlobStore(str(living.folder / "originals"))
        parts = (living.catalog, blobs, living.reader, self.indexes)
        return Purging(*parts, BuilderSettings(**SETTINGS), index=self.index)

    def now(self) -> float:
        return time.time() + self.later

    def step(self) -> StepReport:
        report = self.builder.step()
        assert report is not None
        return report

    def settle(self) -> int:
        """Passes until nothing is left to do; how many generations were published."""
        folded = 0
        for _ in range(20):
            report = self.step()
            folded += report.folded
            if not report.busy:
                return folded
        raise AssertionError("the builder never comes to rest")

    def age(self, seconds: float = 1000.0) -> None:
        """Time passes, and what its time of grace is over for goes."""
        self.later += seconds
        self.settle()

    @property
    def serving(self) -> Generation:
        generation = self.living.catalog.snapshot("pictures").generation
        assert generation is not None
        return generation

    @property
    def stored(self) -> set[str]:
        """Names of the files of generations."""
        return {path.name for path in self.living.generations.iterdir() if not path.name.startswith(".")}


def builder(
    catalog: Catalog,
    folder: Path,
    indexes: Indexes,
    index: IndexSettings,
    source: Any,
    now: Any,
    **changes: Any,
) -> Builder:
    reader = SegmentReader(folder / "segments")
    return Builder(
        catalog,
        BlobStore(str(folder / "originals")),
        reader,
        indexes,
        PatchFormats(CodecFiles(reader.folder)),
        BuilderSettings(**(SETTINGS | changes)),
        monotonic=now,
        index=index,
        texts=source,
    )


class Client:
    """Searches all the time; whoever changes the collection says what must be found, and what may be."""

    def __init__(self, growing: Growing) -> None:
        living = growing.living
        self._catalog = open_catalog(f"sqlite:///{living.folder / 'catalog.sqlite'}", migrate=False)
        self._retriever = Retriever(
            self._catalog, SegmentReader(living.folder / "segments", max_open=8), growing.indexes
        )
        self._rng = np.random.default_rng(7)
        self._dim = living.dim
        self.tokens: dict[int, np.ndarray] = {}
        """Of everything that ever was, by key."""
        self.sure: frozenset[int] = frozenset()
        """What is there before and after whatever happens now."""
        self.possible: frozenset[int] = frozenset()
        self.recalls: set[float | None] = set()
        self.queries = 0
        self.wrong: list[str] = []
        self._scored: list[tuple[np.ndarray, list[int], list[float]]] = []
        self._stop = threading.Event()

    def run(self) -> None:
        while not self._stop.is_set() and not self.wrong:
            try:
                self._query()
            except Exception as error:
                self.wrong.append(f"{type(error).__name__}: {error}")
        self._catalog.close()

    def stop(self) -> None:
        self._stop.set()

    def _query(self) -> None:
        vector = random_vector(self._rng, self._dim)
        before, possible = self.sure, self.possible
        found = self._retriever.retrieve("pictures", vector, 100_000)
        after, possible = self.sure, possible | self.possible
        keys = [hit.key for hit in found.candidates]
        self.queries += 1
        self.recalls.add(found.recall)
        if found.degraded:
            self.wrong.append(f"degraded: {found.degraded}")
        if missing := (before & after) - set(keys):
            self.wrong.append(f"not found: {sorted(missing)[:5]} of {len(missing)}")
        if len(set(keys)) < len(keys) or not set(keys) <= possible:
            self.wrong.append("found twice, or what is not there")
        self._scored.append((vector, keys, [hit.itc for hit in found.candidates]))
        del self._scored[:-200]

    def check_scores(self) -> None:
        """Of the latest answers, by definition."""
        for vector, keys, scores in self._scored:
            tokens = np.stack([self.tokens[key] for key in keys]).astype(np.float64)
            right = (tokens @ vector.astype(np.float64)).max(axis=1)
            assert np.allclose(scores, right, rtol=0, atol=1e-9)


@contextmanager
def searching(growing: Growing) -> Iterator[Client]:
    """A client searches meanwhile; it has seen nothing wrong."""
    client = Client(growing)
    note(growing, client)
    thread = threading.Thread(target=client.run, name="client")
    thread.start()
    try:
        yield client
    finally:
        client.stop()
        thread.join(timeout=60)
    assert client.wrong == []
    assert client.queries > 0
    client.check_scores()


def note(growing: Growing, client: Client) -> None:
    """Nothing happens now: what is there is sure."""
    living = growing.living
    client.tokens |= {key: living.tokens[name] for name, key in living.keys.items()}
    client.sure = client.possible = frozenset(living.keys.values())


def put(growing: Growing, client: Client, ids: list[str]) -> None:
    """Index these, while the client searches: new keys may be found at any time, replaced ones may not."""
    living = growing.living
    replaced = {living.keys[name] for name in ids if name in living.keys}
    highest = max(client.tokens, default=0)
    client.sure -= replaced
    client.possible |= frozenset(range(highest + 1, highest + 1 + 2 * len(ids)))
    living.put(ids, batch_size=10)
    note(growing, client)


def delete(growing: Growing, client: Client, ids: list[str]) -> None:
    client.sure -= {growing.living.keys[name] for name in ids}
    growing.living.delete(ids)
    note(growing, client)


def main(folder: Path) -> None:
    """One pass over what a test left in a folder."""
    catalog = open_catalog(f"sqlite:///{folder / 'catalog.sqlite'}", migrate=False)
    generations = folder / "generations"
    from sightline.store.backends import open_indexes

    flat = open_indexes(generations).of(FLAT)
    parted = {kind: PartedBackend(generations, kind) for kind in (IVF_SQ8, IVF_RABITQ)}
    indexes = Indexes({FLAT: flat, **parted}, FLAT)
    one = builder(catalog, folder, indexes, SMALL, Texts(texts()), time.time)
    one.step()
    catalog.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
