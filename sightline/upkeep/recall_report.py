"""What an index finds of what is there: recall and latency for each effort, on a collection's own queries.

It goes by the contract for indexes, whatever the kind: each query is searched with more and more probes, and
what is found is compared with an exact scan of the segments in the same run. Shapes: T queries · k best.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CorruptionError, InputError, NotFoundError
from sightline.retriever.max_sim import search
from sightline.retriever.opened import SnapshotOpener
from sightline.store.sample_texts import held_out
from sightline.upkeep.exact_scan import best_scores

if TYPE_CHECKING:
    from sightline.retriever.max_sim import Part
    from sightline.serving.models import Models
    from sightline.store.catalog import Catalog
    from sightline.store.index import Indexes
    from sightline.store.records import Collection, Generation, Snapshot
    from sightline.store.sample_text_files import SampleTextFiles
    from sightline.store.segments import SegmentReader
    from sightline.types import OnProgress, Vector

BEST: Final = 100
TOP: Final = 10
MOST_PROBES: Final = 4_096
ALL: Final = 0.9999
"""More than this is not looked for."""
ALIKE: Final = 2e-6
"""Scores that differ by less are equal: the exact scan is in fp32."""
TIMED_SCANS: Final = 3
_AT_ONCE: Final = 64

Source = Literal["queries", "held-out sample texts", "sample texts"]
"""What it was measured with: the user's own queries; sample texts that the index did not learn from, of the
set that it learned from; or a set that was drawn later."""


@dataclass(frozen=True)
class EffortRow:
    """One number of probes (None: what searches use, chosen when the index was built)."""

    probes: int | None
    recall10: float
    recall100: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class RecallReport:
    """``built_recall`` is what was measured when it was built (None: it is exact).

    Times are of one query, from its vector to scored images; ``scan_ms`` of reading and
    comparing all tokens of the segments, which a flat index does more quickly.
    """

    collection: str
    kind: str
    generation: int
    images: int
    queries: int
    source: Source
    built_recall: float | None
    scan_ms: float
    rows: tuple[EffortRow, ...]


class RecallMeasurement:
    """Measures the generation that serves a collection. Memory beside the index: some 200 MB."""

    def __init__(
        self,
        catalog: Catalog,
        segments: SegmentReader,
        indexes: Indexes,
        texts: SampleTextFiles,
        models: Models,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._catalog = catalog
        self._segments = segments
        self._indexes = indexes
        self._texts = texts
        self._models = models
        self._clock = clock

    def report(self, name: str, queries: Sequence[str], most: int, on_progress: OnProgress) -> RecallReport:
        """Measure with at most ``most`` queries, or sample texts when there are none.

        Raises:
            NotFoundError: no such collection, or it has no generation yet.
            InputError: neither queries nor sample texts.
            CorruptionError: the generation or a segment is damaged.
            FileMissingError: a segment was replaced meanwhile; measure again.
        """
        snapshot = self._catalog.snapshot(name)
        if snapshot.generation is None:
            raise NotFoundError(f"The collection {name} has no index yet: all of it is scanned.")
        opened = SnapshotOpener(self._segments, self._indexes).open(snapshot, None)
        part = opened.generation_part(None)
        if part is None:
            raise CorruptionError(f"The index of {name} cannot be opened; run `sightline doctor --repair`.")
        source, vectors_TD = self._vectors(snapshot, snapshot.generation, queries, most)
        best_Tk, seconds = self._exact(snapshot, part, vectors_TD, on_progress)
        rows = self._rows(part, snapshot.generation, vectors_TD, best_Tk, on_progress)
        return RecallReport(
            name, snapshot.generation.kind, snapshot.generation.number, _count(part), len(vectors_TD), source,
            opened.recall(), seconds * 1e3, tuple(rows),
        )  # fmt: skip

    def _vectors(
        self, snapshot: Snapshot, serving: Generation, queries: Sequence[str], most: int
    ) -> tuple[Source, Vector]:
        """Unit vectors fp32 ``[T,D]``."""
        collection = snapshot.collection
        if queries:
            return "queries", self._encoded(collection, list(dict.fromkeys(queries))[:most])
        known = self._texts.newest(collection.fingerprint, collection.id)
        if known is None:
            raise InputError(
                f"There are no sample texts of {collection.name} yet: name a file of queries with --queries."
            )
        if serving.parameters.get("text_set") == known.id:
            return "held-out sample texts", known.vectors[held_out(known.origins)][:most]
        return "sample texts", known.vectors[:most]

    def _encoded(self, collection: Collection, queries: Sequence[str]) -> Vector:
        import torch

        model, parts = self._models.encoder(collection), []
        for start in range(0, len(queries), _AT_ONCE):
            with torch.inference_mode():
                parts.append(model.encode_text(queries[start : start + _AT_ONCE]).float().cpu().numpy())
        return np.concatenate(parts)

    def _exact(
        self, snapshot: Snapshot, part: Part, vectors_TD: Vector, on_progress: OnProgress
    ) -> tuple[NDArray[np.float32], float]:
        """The best scores ``[T,k]``, falling, of what may be found, and the seconds of one exact scan."""
        files = [segment.file for segment in snapshot.covered]
        keys = part.index.keys if part.allowed is None else part.index.keys[part.allowed]
        found = best_scores(self._segments, files, keys, vectors_TD, BEST, on_progress)
        seconds = []
        for vector in vectors_TD[:TIMED_SCANS]:
            began = self._clock()
            best_scores(self._segments, files, keys, vector[None], BEST, lambda *_: None)
            seconds.append(self._clock() - began)
        return found, float(np.median(seconds))

    def _rows(
        self,
        part: Part,
        serving: Generation,
        vectors_TD: Vector,
        best_Tk: NDArray[np.float32],
        on_progress: OnProgress,
    ) -> list[EffortRow]:
        rows = [self._row(part, None, vectors_TD, best_Tk)]
        on_progress("efforts", 1, 2)
        probes, least = 1, _chosen(serving)
        while not part.index.exact and probes <= MOST_PROBES:
            rows.append(self._row(part, probes, vectors_TD, best_Tk))
            if rows[-1].recall100 >= ALL or (probes > least and rows[-1].recall100 <= rows[-2].recall100):
                break
            probes *= 2
        on_progress("efforts", 2, 2)
        return rows

    def _row(
        self, part: Part, probes: int | None, vectors_TD: Vector, best_Tk: NDArray[np.float32]
    ) -> EffortRow:
        search(part, [], vectors_TD[0], BEST, probes)  # the first query reads what the others find read
        found10, found100, seconds = [], [], []
        for vector, best in zip(vectors_TD, best_Tk, strict=True):
            began = self._clock()
            hits = search(part, [], vector, BEST, probes)
            seconds.append(self._clock() - began)
            found10.append(_recall(hits.scores, best, TOP))
            found100.append(_recall(hits.scores, best, BEST))
        p50, p95 = np.percentile(np.array(seconds) * 1e3, [50, 95]).tolist()
        return EffortRow(probes, float(np.mean(found10)), float(np.mean(found100)), p50, p95)


def _count(part: Part) -> int:
    return len(part.index.keys) if part.allowed is None else int(part.allowed.sum())


def _chosen(serving: Generation) -> int:
    """Probes that searches use, as far as the kind tells them."""
    efforts = serving.parameters.get("efforts") or [{}]
    return int(efforts[0].get("probes", 1))


def _recall(scores: NDArray[np.float64], best: NDArray[np.float32], count: int) -> float:
    """The part of the best ``count`` that was found; what scores as the last of them counts as it does."""
    wanted = best[:count]
    wanted = wanted[np.isfinite(wanted)]
    if not len(wanted):
        return 1.0
    return float(np.minimum((scores >= wanted[-1] - ALIKE).sum(), len(wanted)) / len(wanted))
