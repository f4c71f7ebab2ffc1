"""What queries over one generation find and cost, in a fresh process with one thread; a parent reads it.

Times are of CPU, without encoding the text. Whole queries go through the retriever, with the collection's row
in memory in the place of SQL; those over some of the images through its search, with a mask.
Shapes: N images · T queries · D joint dim.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.scale_collection import NAME, Built, ScaleCollection
from benchmarks.scale_memory import anonymous_bytes
from sightline.retriever import Retriever
from sightline.retriever.max_sim import Part, search
from sightline.store.conditions import Filter
from sightline.store.filtered import Filtered
from sightline.store.flat.settling import THREAD as COPYING
from sightline.store.index import CandidateIndex, Indexes
from sightline.store.records import FLAT, Snapshot
from sightline.store.segment_tokens import SegmentTokens
from sightline.types import Keys, Mask, Vector

WANTED: Final = 100
SHARES: Final = (0.5, 0.1, 0.01)
"""Of the images that pass a filter."""
DELETED: Final = 0.3
_SEED: Final = 7
_COPY_S: Final = 300.0
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Plan:
    """What a fresh process is to measure: one generation of a collection, beside the ``flat`` one or none.

    Each query is asked ``rounds`` times after the first; the flat index only ``flat_queries`` of them.
    ``some``: over some of the images as well. ``grown_from``: see `Built`.
    """

    folder: str
    kind: str
    images: int
    texts: str
    rounds: int = 2
    flat: bool = False
    flat_queries: int = 20
    some: bool = True
    grown_from: str = ""


@dataclass
class Asked:
    """Milliseconds of CPU; ``first_s``: until a fresh process, all imported, had opened it and answered, by
    the clock.

    ``recall`` and ``ms`` by what was allowed: "all", shares that pass a filter, "without 0.3" when so many
    were deleted.
    """

    first_s: float
    recall100: float
    recall10: float
    p50_ms: float
    p95_ms: float
    wall_p50_ms: float
    first_round_p50_ms: float
    rss_bytes: int
    recall: dict[str, float] = field(default_factory=dict)
    ms: dict[str, float] = field(default_factory=dict)
    flat_ms: float = 0.0
    beside_flat_ms: float = 0.0

    @property
    def filter_ratio(self) -> float:
        """The slowest of those that search some of the images, against all of them."""
        return max(ms for name, ms in self.ms.items() if name != "all") / self.ms["all"]


@dataclass(frozen=True)
class OneCollection:
    """The catalog of one collection that never changes; see `sightline.retriever.retriever.CatalogReader`."""

    one: Snapshot

    def version(self, collection: str) -> tuple[int, int]:
        """One cheap read."""
        return self.one.collection.id, self.one.collection.version

    def snapshot(self, collection: str) -> Snapshot:
        """Always the same."""
        return self.one

    def filtered(self, collection_id: int, filter: Filter, since: int | None = None) -> Filtered:
        """ValueError: nothing here asks with a filter; what SQL takes for it is benchmarks/filters.py's."""
        raise ValueError("This catalog has no metadata; benchmarks/filters.py asks with a filter.")


def ask_apart(plan: Plan, seconds: float) -> Asked:
    """Measure in a process of its own, for at most so long.

    Raises:
        subprocess.SubprocessError: it failed, or took longer.
    """
    command = [sys.executable, "-m", "benchmarks.scale_asking", json.dumps(asdict(plan))]
    given = os.environ | dict.fromkeys(_THREADS, "1")
    done = subprocess.run(command, env=given, stdout=subprocess.PIPE, text=True, timeout=seconds, check=True)
    return Asked(**json.loads(done.stdout.splitlines()[-1]))


def ask(plan: Plan) -> Asked:
    """Measure here."""
    collection = ScaleCollection(Path(plan.folder))
    built = _there(collection, plan, plan.kind, plan.grown_from)
    vectors = collection.queries
    importlib.import_module("faiss")  # a second that belongs to the start of any process
    began = time.perf_counter()
    retriever = _retriever(collection, built)
    retriever.retrieve(NAME, vectors[0], WANTED)
    first_s = time.perf_counter() - began
    found, cpu, wall = _rounds(retriever, vectors, plan.rounds)
    recall = _recalls(found, collection.best(plan.images, WANTED))
    asked = Asked(
        first_s, recall[0], recall[1], 1e3 * float(np.median(cpu[1:])),
        1e3 * float(np.quantile(cpu[1:], 0.95)), 1e3 * float(np.median(wall[1:])),
        1e3 * float(np.median(cpu[0])), anonymous_bytes(),
    )  # fmt: skip
    index = _opened(collection, built)
    if plan.some:
        _ask_some(asked, index, collection, plan)
    if plan.flat:
        _ask_flat(asked, index, collection, plan)
    return asked


def recall(found: Sequence[Keys], truth: Sequence[Keys], wanted: int) -> float:
    """The part of the truly best ``wanted`` of each query that is among as many that were found."""
    parts = [np.isin(best[:wanted], keys[:wanted]).mean() for keys, best in zip(found, truth, strict=True)]
    return float(np.mean(parts))


def _recalls(found: Sequence[Keys], truth: Sequence[Keys]) -> tuple[float, float]:
    return recall(found, truth, WANTED), recall(found, truth, 10)


def _there(collection: ScaleCollection, plan: Plan, kind: str, grown_from: str = "") -> Built:
    built = collection.built(kind, plan.images, plan.texts, grown_from)
    if built is None:
        raise FileNotFoundError(f"No {kind} index of {plan.images} images was built in {plan.folder}.")
    return built


def _retriever(collection: ScaleCollection, built: Built) -> Retriever:
    indexes = Indexes({built.kind: collection.backend(built.kind)}, built.kind)
    return Retriever(OneCollection(collection.snapshot(built)), collection.reader, indexes)


def _opened(collection: ScaleCollection, built: Built) -> CandidateIndex:
    tokens = SegmentTokens(collection.reader.folder, *collection.shape)
    files = [segment.file for segment in collection.segments(built.images)]
    tokens.cover([], [(file, collection.reader.head(file)) for file in files])
    return collection.backend(built.kind).open(built.file, built.sha256, tokens)


def _rounds(
    retriever: Retriever, vectors: Vector, rounds: int
) -> tuple[list[Keys], list[list[float]], list[list[float]]]:
    """What was found, and seconds of CPU and by the clock of each query in each round; the first is extra."""
    found: list[Keys] = []
    cpu: list[list[float]] = []
    wall: list[list[float]] = []
    for _ in range(1 + rounds):
        found.clear()
        cpu.append([])
        wall.append([])
        for vector in vectors:
            began, used = time.perf_counter(), time.process_time()
            got = retriever.retrieve(NAME, vector, WANTED)
            cpu[-1].append(time.process_time() - used)
            wall[-1].append(time.perf_counter() - began)
            found.append(np.array([one.key for one in got.candidates]))
    return found, cpu, wall


def _ask_some(asked: Asked, index: CandidateIndex, collection: ScaleCollection, plan: Plan) -> None:
    """In turns over all images, over those that pass filters, and without those that were deleted."""
    vectors = collection.queries
    rng = np.random.default_rng(_SEED)
    drawn = rng.random(plan.images)[index.keys]
    masks: dict[str, Mask | None] = {"all": None} | {f"{share:g}": drawn < share for share in SHARES}
    masks[f"without {DELETED:g}"] = rng.random(plan.images)[index.keys] >= DELETED
    found: dict[str, list[Keys]] = {name: [] for name in masks}
    seconds: dict[str, list[float]] = {name: [] for name in masks}
    for turn in range(2):
        for vector in vectors:
            for name, mask in masks.items():
                used = time.process_time()
                hits = search(Part(index, mask), [], vector, WANTED)
                if turn:
                    seconds[name].append(time.process_time() - used)
                    found[name].append(hits.keys)
    for name, mask in masks.items():
        asked.ms[name] = 1e3 * float(np.median(seconds[name]))
        truth = collection.best(plan.images, WANTED, _by_key(mask, index.keys))
        asked.recall[name] = recall(found[name], truth, WANTED)


def _by_key(mask: Mask | None, keys: Keys) -> Mask | None:
    """In the order of keys, which are numbers from 0, of a mask in the order of the index."""
    if mask is None:
        return None
    by_key = np.zeros(len(keys), np.bool_)
    by_key[keys] = mask
    return by_key


def _ask_flat(asked: Asked, index: CandidateIndex, collection: ScaleCollection, plan: Plan) -> None:
    """The exact scan of the same images beside the index; its answers must be the truth.

    Either answers all queries before the other's turn comes, as no process does both, and neither leaves the
    other its caches. The first turns are extra: a flat index is copied into memory beside its first answers,
    for which all wait.
    """
    flat = _opened(collection, _there(collection, plan, FLAT))
    sides: Mapping[str, Callable[[Vector], Keys]] = {
        "flat": lambda vector: search(Part(flat), [], vector, WANTED).keys,
        "index": lambda vector: search(Part(index), [], vector, WANTED).keys,
    }
    vectors = collection.queries[: plan.flat_queries]
    truth = collection.best(plan.images, WANTED)[: len(vectors)]
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(3):
        for name, answer in sides.items():
            found = []
            for vector in vectors:
                used = time.process_time()
                found.append(answer(vector))
                if turn:
                    seconds[name].append(time.process_time() - used)
            if name == "flat" and recall(found, truth, WANTED) < 0.99:
                raise RuntimeError("The flat scan does not find what scores best.")
        for thread in threading.enumerate():
            if thread.name == COPYING:
                thread.join(_COPY_S)
    asked.flat_ms, asked.beside_flat_ms = (
        1e3 * float(np.median(seconds[name])) for name in ("flat", "index")
    )


def main() -> None:
    """The last line on standard output is what was measured, as JSON."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(asdict(ask(Plan(**given)))))


if __name__ == "__main__":
    main()
