"""How each of the others is built and asked; see benchmarks/scale_others.py.

Shapes: D joint dim · R rows, tokens of all images.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.types import Half, Vector

Hits = Callable[[Vector, int, int], NDArray[np.int64]]
"""(unit vector ``[D]``, how many, effort) → rows, the best first."""
_LINKS: Final = 16
_BUILD_EFFORT: Final = 100
_AT_ONCE: Final = 64_000


class System(Protocol):
    """One of the others. ``efforts``: what may be tried of its own measure of effort, rising."""

    name: str
    module: str
    efforts: Sequence[int]
    holds_tokens: bool

    def build(self, tokens_RD: Half, folder: Path) -> Hits:
        """With all cores; what is on disk lies in ``folder``."""
        ...

    def index_bytes(self) -> int:
        """On disk."""
        ...


class Hnswlib:
    """A graph over tokens in fp32, which it holds. Its effort is ef, at least the number of hits."""

    name, module, holds_tokens = "hnswlib, fp32", "hnswlib", True
    efforts: Sequence[int] = (0, 3200, 6400, 12_800, 25_600)

    def build(self, tokens_RD: Half, folder: Path) -> Hits:
        """See `System`."""
        self._path = folder / "hnswlib.bin"
        index = importlib.import_module("hnswlib").Index(space="ip", dim=tokens_RD.shape[1])
        index.init_index(len(tokens_RD), M=_LINKS, ef_construction=_BUILD_EFFORT)
        for start in range(0, len(tokens_RD), _AT_ONCE):
            some = tokens_RD[start : start + _AT_ONCE].astype(np.float32)
            index.add_items(some, np.arange(start, start + len(some)), num_threads=os.cpu_count() or 1)
        index.save_index(str(self._path))

        def hits(vector: Vector, wanted: int, effort: int) -> NDArray[np.int64]:
            index.set_ef(max(wanted, effort))
            rows, _ = index.knn_query(vector[None], k=wanted, num_threads=1)
            found: NDArray[np.int64] = rows[0].astype(np.int64)
            return found

        return hits

    def index_bytes(self) -> int:
        """See `System`."""
        return self._path.stat().st_size


class Usearch:
    """A graph over tokens in fp16, which it holds, or in int8; then hits are ordered anew by their fp16
    tokens, which lie beside it. Its effort is ef.
    """

    module = "usearch"
    efforts: Sequence[int] = (0, 3200, 6400, 12_800, 25_600)

    def __init__(self, dtype: str) -> None:
        self.name = f"usearch, {dtype}" + ("" if dtype == "f16" else ", reordered from fp16")
        self.holds_tokens = dtype == "f16"
        self._dtype = dtype

    def build(self, tokens_RD: Half, folder: Path) -> Hits:
        """See `System`."""
        self._path = folder / f"usearch-{self._dtype}.bin"
        index = importlib.import_module("usearch.index").Index(
            ndim=tokens_RD.shape[1], metric="ip", dtype=self._dtype, connectivity=_LINKS,
            expansion_add=_BUILD_EFFORT,
        )  # fmt: skip
        for start in range(0, len(tokens_RD), _AT_ONCE):
            some = tokens_RD[start : start + _AT_ONCE]
            index.add(np.arange(start, start + len(some)), some, threads=os.cpu_count() or 1)
        index.save(str(self._path))

        def hits(vector: Vector, wanted: int, effort: int) -> NDArray[np.int64]:
            index.expansion_search = max(wanted, effort)
            found: NDArray[np.int64] = index.search(vector, wanted, threads=1).keys.astype(np.int64)
            return found if self.holds_tokens else reordered(found, tokens_RD, vector)

        return hits

    def index_bytes(self) -> int:
        """See `System`."""
        return self._path.stat().st_size


class LanceDB:
    """Rows of tokens in fp16 with its IVF_PQ, refined from the tokens. Its effort is the number of probes."""

    name, module, holds_tokens = "LanceDB, IVF_PQ refined", "lancedb", True
    efforts: Sequence[int] = (20, 50, 100, 200, 400)
    _REFINE: Final = 10
    _DIMENSIONS: Final = 8
    """Of a vector that share a code."""

    def build(self, tokens_RD: Half, folder: Path) -> Hits:
        """See `System`."""
        self._folder = folder / "lancedb"
        arrow = importlib.import_module("pyarrow")
        kind = arrow.list_(arrow.float16(), tokens_RD.shape[1])
        schema = arrow.schema([("row", arrow.int64()), ("vector", kind)])

        def batches() -> Any:
            for start in range(0, len(tokens_RD), _AT_ONCE):
                some = tokens_RD[start : start + _AT_ONCE]
                rows = arrow.array(np.arange(start, start + len(some)))
                flat = arrow.FixedSizeListArray.from_arrays(arrow.array(some.reshape(-1)), some.shape[1])
                yield arrow.RecordBatch.from_arrays([rows, flat], schema=schema)

        database = importlib.import_module("lancedb").connect(str(self._folder))
        table = database.create_table("tokens", batches(), schema=schema)
        lists = importlib.import_module("lancedb.index").IvfPq(
            distance_type="dot", num_partitions=round(math.sqrt(len(tokens_RD))),
            num_sub_vectors=tokens_RD.shape[1] // self._DIMENSIONS,
        )  # fmt: skip
        table.create_index("vector", config=lists)

        def hits(vector: Vector, wanted: int, effort: int) -> NDArray[np.int64]:
            query = table.search(vector).distance_type("dot").nprobes(effort).refine_factor(self._REFINE)
            found = query.limit(wanted).select(["row", "_distance"]).to_arrow()
            rows: NDArray[np.int64] = found["row"].to_numpy()
            return rows

        return hits

    def index_bytes(self) -> int:
        """See `System`; the table of tokens is a part of it."""
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())


def reordered(rows: NDArray[np.int64], tokens_RD: Half, vector: Vector) -> NDArray[np.int64]:
    """By the exact products of the tokens, the best first."""
    best: NDArray[np.int64] = rows[np.argsort(-(tokens_RD[rows].astype(np.float32) @ vector), kind="stable")]
    return best


SYSTEMS: Final[Mapping[str, System]] = {
    "hnswlib": Hnswlib(),
    "usearch": Usearch("f16"),
    "usearch-i8": Usearch("i8"),
    "lancedb": LanceDB(),
}
