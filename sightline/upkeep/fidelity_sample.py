"""Pictures of a collection judged by ITM, whole and compressed: how much of the order a codec keeps.

Shapes: N sampled images · P patches · V vision width · K candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sightline.reranker.fidelity import Fidelity, FidelityMeter

if TYPE_CHECKING:
    from torch import Tensor

    from sightline.blip.latents import Latents
    from sightline.blip.protocols import RetrievalModel
    from sightline.types import OnProgress

Compress = Callable[["Tensor"], "Tensor | Latents"]
"""Patches ``[K,P,V]`` fp32 as a level keeps them."""


@dataclass(frozen=True)
class FidelitySample:
    """``patches [N,P,V]`` fp32 and ``tokens [N,Q,D]`` of the judged images."""

    keys: list[int]
    patches: Tensor
    tokens: NDArray[np.float32]
    queries: list[str]


def fidelities(
    model: RetrievalModel,
    sample: FidelitySample,
    levels: Sequence[Compress],
    candidates: int,
    show: OnProgress,
) -> list[Fidelity]:
    """How much of the order of each query's best candidates by ITC each level keeps, against the whole."""
    import torch

    meters = [FidelityMeter() for _ in levels]
    with torch.inference_mode():
        vectors = model.encode_text(sample.queries).float().cpu().numpy()
        for number, (query, vector) in enumerate(zip(sample.queries, vectors, strict=True)):
            itc = (sample.tokens @ vector).max(axis=1)
            rows = np.argsort(-itc, kind="stable")[:candidates]
            patches = sample.patches[torch.from_numpy(rows.copy())]
            exact = _logits(model, query, patches)
            for meter, compress in zip(meters, levels, strict=True):
                logits = _logits(model, query, compress(patches))
                meter.add(exact + itc[rows], logits + itc[rows], exact, logits)
            show("queries", number + 1, len(sample.queries))
    return [meter.result() for meter in meters]


def _logits(model: RetrievalModel, query: str, patches: Tensor | Latents) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = model.match([query], patches.to(model.device))[:, 1].float().cpu().numpy()
    return logits
