"""One collection of a scale benchmark on disk: segments, what an exact search would score, built indexes.

Everything is kept and goes on where it was interrupted. Keys are numbers of images, from 0.
Shapes: N images · Q query tokens · D joint dim · T queries.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import sightline.store
from benchmarks.scale_memory import AnonymousPeak
from benchmarks.scale_source import Source
from benchmarks.scale_tokens import BLOCK, Tokens
from sightline.store.backends import open_indexes
from sightline.store.index import BuildRequest, IndexBackend
from sightline.store.records import Collection, Generation, Segment, SegmentState, Snapshot
from sightline.store.segments import SegmentReader, write_segment
from sightline.types import Half, Keys, Mask, Vector

NAME: Final = "scale"
_AHEAD: Final = 3
"""Blocks that are made while others are written."""
NONE_DEAD: Final = np.empty(0, np.int64)


@dataclass(frozen=True)
class Built:
    """A generation and what it took: seconds, bytes on disk, anonymous memory at its peak."""

    kind: str
    images: int
    code: str
    texts: str
    file: str
    sha256: str
    bytes: int
    recall: float
    seconds: float
    peak_bytes: int
    parameters: dict[str, Any] = field(default_factory=dict)
    grown_from: str = ""
    """The generation that served while it was built; empty when it was built anew."""

    @property
    def retrain(self) -> str:
        """Why the next one should be built anew; empty when it need not."""
        return str(self.parameters.get("retrain") or "")


class ScaleCollection:
    """What is in its folder now. Nothing is written but by `fill` and `build`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reader = SegmentReader(folder / "segments", max_open=4096)

    @property
    def images(self) -> int:
        """Of how many images there are tokens."""
        return BLOCK * len(self._lines())

    @property
    def queries(self) -> Vector:
        """Unit vectors fp32 ``[T,D]``."""
        found: Vector = np.load(self.folder / "queries.npy")
        return found

    def segments(self, images: int) -> list[Segment]:
        """Those of the first so many images, a multiple of `BLOCK`."""
        lines = self._lines()[: images // BLOCK]
        if images % BLOCK or len(lines) * BLOCK < images:
            raise ValueError(f"There are {self.images} images in {self.folder}, in blocks of {BLOCK}.")
        state: SegmentState = "published"
        rows = [json.loads(line) for line in lines]
        return [
            Segment(number, row["file"], row["sha256"], BLOCK, "none", row["bytes"], state, 0.0, None, 1)
            for number, row in enumerate(rows, 1)
        ]

    def best(self, images: int, wanted: int, allowed: Mask | None = None) -> list[Keys]:
        """For each query the keys of its best images, of those allowed ``[N]``, by scores in fp32."""
        blocks = images // BLOCK
        queries = len(self.queries)
        shape = blocks, queries, BLOCK
        scores = np.memmap(self._scores, np.float32, "r", shape=shape)
        return [_best(scores[:, query].reshape(-1), wanted, allowed) for query in range(queries)]

    def snapshot(self, built: Built, dead: Keys = NONE_DEAD) -> Snapshot:
        """What a query reads of the catalog: everything is in the generation."""
        segments = self.segments(built.images)
        queries, dim = self.shape
        one = Collection(1, NAME, "demo", None, self.folder.name, queries, dim, 1, 0.0, 1)
        covered = tuple(segment.id for segment in segments)
        generation = Generation(
            1, 1, built.file, built.sha256, covered, built.images, 0.0, built.kind, built.parameters
        )
        return Snapshot(one, generation, [], segments, dead, NONE_DEAD)

    @property
    def shape(self) -> tuple[int, int]:
        """(Q, D)."""
        _, queries, dim = self.reader.head(self.segments(BLOCK)[0].file).layout.specs["tokens"].shape
        return queries, dim

    def backend(self, kind: str) -> IndexBackend:
        """What builds and opens indexes here, on the CPU."""
        return open_indexes(self.folder / "indexes", "cpu").of(kind)

    def built(self, kind: str, images: int, texts: str, grown_from: str = "") -> Built | None:
        """The generation that this very code built of the first so many images with these texts."""
        wanted = kind, images, texts, code_id(), grown_from
        same = [one for one in self._built() if _how(one) == wanted and self._has(one)]
        return same[-1] if same else None

    def build(self, kind: str, images: int, source: Source, serving: Built | None = None) -> Built:
        """Build a generation, grown out of ``serving`` where one is given; one that is there is kept."""
        texts, before = source.texts(), "" if serving is None else serving.file
        known = self.built(kind, images, texts.id, before)
        if known is not None:
            return known
        self._remove_older(kind, images)
        self._sweep_indexes()
        old = None if serving is None else self.snapshot(serving).generation
        request = BuildRequest(self.segments(images), NONE_DEAD, serving=old, texts=texts)
        began = time.monotonic()
        with AnonymousPeak() as peak:
            made = self.backend(kind).build(self.reader, request)
        told = Built(
            kind, images, code_id(), texts.id, made.file, made.sha256, made.bytes, made.recall,
            time.monotonic() - began, peak.bytes, json.loads(json.dumps(dict(made.parameters))), before,
        )  # fmt: skip
        _append(self.folder / "built.jsonl", asdict(told))
        return told

    def remove(self, built: Built) -> None:
        """Delete its files."""
        self.backend(built.kind).remove(built.file)

    def _remove_older(self, kind: str, images: int) -> None:
        """What other code built of the same images."""
        for one in self._built():
            if (one.kind, one.images) == (kind, images) and one.code != code_id() and self._has(one):
                self.remove(one)

    def _sweep_indexes(self) -> None:
        """What an interrupted build left."""
        built = self._built()
        named = {name for one in built for name in (one.file, *one.parameters.get("files", []))}
        _sweep(self.folder / "indexes", named)

    def _built(self) -> list[Built]:
        return [Built(**json.loads(line)) for line in _lines(self.folder / "built.jsonl")]

    def _has(self, built: Built) -> bool:
        return (self.folder / "indexes" / built.file).exists()

    @property
    def _scores(self) -> Path:
        return self.folder / "scores.f32"

    def _lines(self) -> list[str]:
        return _lines(self.folder / "segments.jsonl")


def fill(
    root: Path, tokens: Tokens, images: int, told: Callable[[int], None] = lambda done: None
) -> ScaleCollection:
    """Write tokens of so many images (rounded up to whole blocks), and what each query scores of them.

    ``told`` hears now and then how many there are.
    """
    folder = root / tokens.id
    folder.mkdir(parents=True, exist_ok=True)
    queries = tokens.source.queries
    np.save(folder / "queries.npy", queries)
    collection = ScaleCollection(folder)
    there = collection.images // BLOCK
    _sweep(folder / "segments", {segment.file for segment in collection.segments(there * BLOCK)})
    for number, block in _blocks(tokens, there, -(-images // BLOCK)):
        keys = np.arange(number * BLOCK, (number + 1) * BLOCK)
        _write_at(collection._scores, number, scores_of(block, queries))
        written = write_segment(folder / "segments", keys, block, None, "none")
        line = {"file": written.file, "sha256": written.sha256, "bytes": written.bytes}
        _append(folder / "segments.jsonl", line)
        told((number + 1) * BLOCK)
    return collection


def scores_of(tokens_NQD: Half, queries_TD: Vector) -> NDArray[np.float32]:
    """``[T,N]``: the best product of an image's tokens with each query, in fp32."""
    products = tokens_NQD.astype(np.float32) @ queries_TD.T
    best: NDArray[np.float32] = np.ascontiguousarray(products.max(axis=1).T)
    return best


def code_id() -> str:
    """Of all code that stores and builds: an index of other code is built anew."""
    digest = hashlib.sha256()
    folder = Path(sightline.store.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _how(built: Built) -> tuple[str, int, str, str, str]:
    return built.kind, built.images, built.texts, built.code, built.grown_from


def _best(scores: NDArray[np.float32], wanted: int, allowed: Mask | None) -> Keys:
    """Ties by key, as the retriever has them."""
    keys = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
    found = scores[keys]
    if len(found) > wanted:
        least = np.partition(found, len(found) - wanted)[len(found) - wanted]
        keys, found = keys[found >= least], found[found >= least]
    best: Keys = keys[np.lexsort((keys, -found))][:wanted]
    return best


def _blocks(tokens: Tokens, start: int, stop: int) -> Iterator[tuple[int, Half]]:
    """In order, some made ahead by other threads: drawing numbers releases the interpreter."""
    waiting: deque[tuple[int, Future[Half]]] = deque()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for number in range(start, stop):
            waiting.append((number, pool.submit(tokens.block, number)))
            if len(waiting) >= _AHEAD:
                done, block = waiting.popleft()
                yield done, block.result()
        for done, block in waiting:
            yield done, block.result()


def _write_at(path: Path, number: int, scores_TN: NDArray[np.float32]) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(number * scores_TN.nbytes)
        file.write(scores_TN.tobytes())


def _sweep(folder: Path, known: set[str]) -> None:
    """Remove what an interrupted run left half done."""
    for path in folder.glob("*") if folder.exists() else ():
        if path.name not in known:
            path.unlink()


def _lines(path: Path) -> list[str]:
    """Whole lines only: the last may have been cut."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def _append(path: Path, row: dict[str, Any]) -> None:
    """One more whole line, in the place of one that was cut."""
    whole = "".join(f"{line}\n" for line in _lines(path))
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(len(whole.encode()))
        file.seek(0, os.SEEK_END)
        file.write(json.dumps(row).encode() + b"\n")
