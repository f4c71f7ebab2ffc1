"""The LAVIS retrieval loop (`blip2_models/blip2.py` ``compute_sim_matrix``), taken apart.

ITC for all pairs; then ITM for the k best columns of every row, in both directions; everything else scores
-100. A pair's ITM logit does not depend on k, so one pass at the largest k serves every smaller one.

``N`` pictures · ``T`` texts · ``Q`` query tokens · ``D`` joint dim · ``R`` rows (queries) ·
``C`` columns · ``K`` candidates of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.blip.protocols import Encoder, Matcher
from sightline.evaluation.metrics import NOT_SCORED
from sightline.evaluation.tables import TableView
from sightline.records import ScoreName
from sightline.types import OnProgress

MatchRow = Callable[[int, Sequence[int]], Tensor]
"""Row and columns to logits ``[K, 2]``."""


@dataclass(frozen=True)
class Features:
    """What ITC needs, on the CPU: image tokens ``[N, Q, D]``, text vectors ``[T, D]``; and the time."""

    tokens: Tensor
    vectors: Tensor
    text_seconds: float

    def similarity(self) -> Tensor:
        """ITC scores ``[N, T]``: the best query token, picture by picture as LAVIS does (bounded memory)."""
        return torch.stack([(tokens @ self.vectors.T).max(dim=0).values for tokens in self.tokens])


@dataclass(frozen=True)
class Direction:
    """One direction of search: each row's candidates in ITC order.

    ``columns`` ``[R, K]``, ``itc`` ``[R, K]``, ``itm`` ``[R, K]`` (match logits), and the seconds that
    judging the first k candidates of all rows took, for each k.
    """

    width: int
    columns: NDArray[np.int64]
    itc: NDArray[np.float32]
    itm: NDArray[np.float32]
    seconds: dict[int, float]

    def matrix(self, k: int, score: ScoreName) -> NDArray[np.float32]:
        """LAVIS' score matrix ``[R, C]`` for this k."""
        scores = np.full((len(self.columns), self.width), NOT_SCORED, dtype=np.float32)
        values = {"itm": self.itm, "itc": self.itc, "itm+itc": self.itm + self.itc}[score]
        np.put_along_axis(scores, self.columns[:, :k], values[:, :k], axis=1)
        return scores


@torch.inference_mode()
def embed(
    model: Encoder,
    table: TableView,
    texts: Sequence[str],
    batch_size: int,
    on_progress: OnProgress | None = None,
) -> Features:
    """Image tokens from patches, and text vectors; LAVIS encodes texts in batches of 256."""
    tokens = []
    for start in range(0, len(table), batch_size):
        rows = list(range(start, min(start + batch_size, len(table))))
        tokens.append(model.encode_image(table.read(rows).to(model.device)).float().cpu())
        if on_progress is not None:
            on_progress("image tokens", rows[-1] + 1, len(table))
    begin = perf_counter()
    vectors = [
        model.encode_text(texts[start : start + 256]).float().cpu() for start in range(0, len(texts), 256)
    ]
    return Features(torch.cat(tokens), torch.cat(vectors), perf_counter() - begin)


def text_to_image(
    model: Matcher, table: TableView, texts: Sequence[str], similarity: Tensor, ks: Sequence[int],
    batch_size: int, on_progress: OnProgress | None = None,
) -> Direction:  # fmt: skip
    """Rank pictures for every text; ``similarity`` is ``[N, T]``."""

    def match(text: int, images: Sequence[int]) -> Tensor:
        return model.match([texts[text]], table.read(images).to(model.device))

    return _judge(match, similarity.T, ks, batch_size, "text → image", on_progress)


def image_to_text(
    model: Matcher, table: TableView, texts: Sequence[str], similarity: Tensor, ks: Sequence[int],
    batch_size: int, on_progress: OnProgress | None = None,
) -> Direction:  # fmt: skip
    """Rank texts for every picture; ``similarity`` is ``[N, T]``."""

    def match(image: int, columns: Sequence[int]) -> Tensor:
        patches = table.read([image]).to(model.device).expand(len(columns), -1, -1)
        return model.match([texts[column] for column in columns], patches)

    return _judge(match, similarity, ks, batch_size, "image → text", on_progress)


@torch.inference_mode()
def _judge(
    match: MatchRow, similarity: Tensor, ks: Sequence[int], batch_size: int, stage: str,
    on_progress: OnProgress | None,
) -> Direction:  # fmt: skip
    """ITM logits of the ``max(ks)`` best columns of each row of ``[R, C]``; none when ``ks`` is empty."""
    rows, width = similarity.shape
    edges = sorted({min(k, width) for k in ks})
    itc, columns = similarity.topk(max(edges, default=0), dim=1)
    itm = torch.empty_like(itc)
    seconds = dict.fromkeys(edges, 0.0)
    for row in range(rows):
        begin = perf_counter()
        for low, high in pairwise([0, *edges]):
            for start in range(low, high, batch_size):
                stop = min(start + batch_size, high)
                itm[row, start:stop] = match(row, columns[row, start:stop].tolist())[:, 1].float().cpu()
            seconds[high] += perf_counter() - begin
        if on_progress is not None:
            on_progress(stage, row + 1, rows)
    timing = {k: seconds[min(k, width)] for k in ks}
    return Direction(width, columns.numpy(), itc.numpy(), itm.numpy(), timing)
