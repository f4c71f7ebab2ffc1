"""Images like a picture: how long every image takes, and whether anything differs from the definition.

``python -m benchmarks.similar [--images 100000] [--queries 32] [--dim 64]``. Random tokens near one centre an
image, in one exact index in memory; the naive way multiplies a few thousand images at a time in float32, as
NumPy has it, and the definition does so in fp64, with ties by key.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.retriever.max_sim import Part
from sightline.retriever.similarity import QueryTokens, similar
from sightline.store.backends import open_indexes
from sightline.types import Half

BEST = 100
TIMES = 5
AT_ONCE = 2_000


def random_tokens(rng: np.random.Generator, images: int, queries: int, dim: int) -> Half:
    """fp16 ``[N,Q,D]``; one image in fifty has the tokens of another, so that scores tie."""
    tokens = np.empty((images, queries, dim), np.float16)
    for start in range(0, images, AT_ONCE):
        count = min(AT_ONCE, images - start)
        some = rng.standard_normal((count, 1, dim)) + 0.7 * rng.standard_normal((count, queries, dim))
        tokens[start : start + count] = some / np.linalg.norm(some, axis=2, keepdims=True)
    copies = slice(49, None, 50)
    tokens[copies] = tokens[rng.integers(0, images, len(tokens[copies]))]
    return tokens


def by_definition(tokens: Half, query: Half, dtype: type) -> NDArray[np.floating[Any]]:
    """``[N]``: the mean over the query's tokens of the best product."""
    parts = [
        (tokens[start : start + AT_ONCE].astype(dtype) @ query.astype(dtype).T).max(axis=1).mean(axis=1)
        for start in range(0, len(tokens), AT_ONCE)
    ]
    return np.concatenate(parts)


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 100_000), ("queries", 32), ("dim", 64), ("checked", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    rng = np.random.default_rng(1)
    tokens = random_tokens(rng, asked.images, asked.queries, asked.dim)
    part = Part(open_indexes("nowhere").of("flat").tail(np.arange(asked.images), tokens))
    queries = [tokens[rng.integers(asked.images)] for _ in range(TIMES)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = [_timed(partial(similar, part, [], QueryTokens(query), BEST)) for query in queries]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    naive = [_timed(partial(by_definition, tokens, query, np.float32)) for query in queries]
    wrong = sum(_differs(part, tokens, query) for query in queries[: asked.checked])
    print(f"{asked.images:,} images of {asked.queries} x {asked.dim}: {np.median(took):.2f} s, naive "
          f"{np.median(naive):.2f} s; {grown / 1024:.0f} MiB more memory; {wrong} of "
          f"{min(TIMES, asked.checked)} answers differ from the definition")  # fmt: skip


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _differs(part: Part, tokens: Half, query: Half) -> bool:
    found = similar(part, [], QueryTokens(query), BEST)
    scores = np.round(by_definition(tokens, query, np.float64), 12)
    order = np.lexsort((np.arange(len(scores)), -scores))[:BEST]
    close = np.allclose(found.scores, scores[order], rtol=0, atol=1e-12)
    return not (np.array_equal(found.keys, order) and close)


if __name__ == "__main__":
    main()
