"""One query over the flat index: tokens in fp16 on a GPU against the CPU, through the retriever's own search.

``python -m benchmarks.gpu_search [--images 10000,50000] [--candidates 10,100] [--queries 50]``, where the
installed FAISS is ``faiss-gpu`` and sees a GPU. Both must give the same images with the same scores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measuring import Timing, alternate
from sightline.errors import UnavailableError
from sightline.retriever.max_sim import Part, search
from sightline.store.flat import FaissGpu, FlatBackend, Gpu
from sightline.store.index import BuildRequest, CandidateIndex
from sightline.store.segments import SegmentReader, write_segment
from sightline.types import Half, Vector

QUERIES, DIM = 32, 256
"""Tokens of an image and their width: BLIP-2's."""
AT_ONCE = 1000
"""Images drawn and written together."""


@dataclass(frozen=True)
class Published:
    """What a build needs to know of a segment."""

    id: int
    file: str


@dataclass(frozen=True)
class Measured:
    """Seconds of one query with the same answers on both."""

    images: int
    candidates: int
    cpu: Timing
    gpu: Timing


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", default="10000,50000")
    parser.add_argument("--candidates", default="10,100")
    parser.add_argument("--queries", type=int, default=50)
    chosen = parser.parse_args(arguments)
    try:
        devices = FaissGpu().count()
    except UnavailableError as error:
        sys.exit(str(error))
    if not devices:
        sys.exit("FAISS sees no GPU here: install 'sightline[faiss-gpu]' on a machine that has one.")
    wanted = [int(number) for number in chosen.candidates.split(",")]
    print("| images | candidates | CPU | GPU | ratio |\n|---|---|---|---|---|")
    for images in (int(number) for number in chosen.images.split(",")):
        for row in measure(images, wanted, chosen.queries, FaissGpu()):
            ratio = row.cpu.median / row.gpu.median
            print(f"| {row.images:,} | {row.candidates} | {row.cpu} | {row.gpu} | {ratio:.1f}× |")


def measure(images: int, candidates: Sequence[int], queries: int, gpu: Gpu) -> list[Measured]:
    """Time both devices in turns over one generation of ``images`` drawn images.

    Raises:
        RuntimeError: they do not give the same answers.
    """
    rng = np.random.default_rng(images)
    vectors = _unit(rng.standard_normal((queries, DIM)))
    with TemporaryDirectory() as folder:
        file, sha256 = _build(Path(folder), images, rng)
        cpu = FlatBackend(folder, "cpu").open(file, sha256)
        on_gpu = FlatBackend(folder, "cuda", gpu).open(file, sha256)
        return [_both(cpu, on_gpu, vectors, wanted) for wanted in candidates]


def _both(cpu: CandidateIndex, gpu: CandidateIndex, vectors: Vector, wanted: int) -> Measured:
    for number, vector in enumerate(vectors):
        ours, theirs = (search(Part(index), [], vector, wanted) for index in (gpu, cpu))
        if not (np.array_equal(ours.keys, theirs.keys) and np.array_equal(ours.scores, theirs.scores)):
            raise RuntimeError(f"GPU and CPU differ at query {number} for {wanted} candidates.")
    turns = iter(range(sys.maxsize))

    def ask(index: CandidateIndex) -> None:
        search(Part(index), [], vectors[next(turns) // 2 % len(vectors)], wanted)

    found = alternate({"cpu": lambda: ask(cpu), "gpu": lambda: ask(gpu)}, rounds=len(vectors))
    return Measured(len(cpu.keys), wanted, found["cpu"], found["gpu"])


def _build(folder: Path, images: int, rng: np.random.Generator) -> tuple[str, str]:
    segments = []
    for start in range(0, images, AT_ONCE):
        keys = np.arange(start, min(start + AT_ONCE, images))
        written = write_segment(folder / "segments", keys, _tokens(rng, len(keys)), None, "none")
        segments.append(Published(len(segments) + 1, written.file))
    reader = SegmentReader(folder / "segments")
    built = FlatBackend(folder).build(reader, BuildRequest(segments, np.empty(0, np.int64)))
    return built.file, built.sha256


def _tokens(rng: np.random.Generator, images: int) -> Half:
    """fp16 ``[N,Q,D]``: the tokens of one image lie near one another, as a Q-Former's do."""
    centres = rng.standard_normal((images, 1, DIM))
    return _unit(centres + 0.7 * rng.standard_normal((images, QUERIES, DIM))).astype(np.float16)


def _unit(rows: np.ndarray) -> Vector:
    unit: Vector = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return unit


if __name__ == "__main__":
    main()
