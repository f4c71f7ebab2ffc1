"""Pairs from the latent cache, without a store: what the benchmarks of reranking ask and are answered from.

Shapes: K candidates · N pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measuring import has_fast_bf16
from sightline.blip import load
from sightline.blip.blip2 import Blip2
from sightline.blip.checkpoint import DEMO
from sightline.blip.int8_linear import available
from sightline.blip.latents import Latents
from sightline.reranker.records import PatchGroup


@dataclass(frozen=True)
class Found:
    """A candidate as the retriever gives it."""

    key: int
    itc: float
    itc_rank: int


@dataclass(frozen=True)
class LatentSource:
    """Latents as the cache gives them: a copy of those that are asked for. Keys are places in them."""

    latents: Latents

    def patches(self, keys: Sequence[int]) -> Sequence[PatchGroup]:
        """All in one form."""
        return [PatchGroup(range(len(keys)), some(self.latents, keys))]


def some(latents: Latents, rows: Sequence[int]) -> Latents:
    """A copy of some rows."""
    at = list(rows)
    return Latents(latents.codes[at], latents.scales[at], latents.basis)


def candidates(itc_N: NDArray[np.float32], wanted: int) -> list[Found]:
    """The ``wanted`` best by ITC, or all; ties by key."""
    best = np.argsort(-itc_N, kind="stable")[:wanted].tolist()
    return [Found(key, float(itc_N[key]), rank) for rank, key in enumerate(best, 1)]


def chosen_dtype() -> torch.dtype:
    """What the product multiplies pairs in here, once its check of the checkpoint has passed."""
    if available():
        return torch.int8
    return torch.bfloat16 if has_fast_bf16() else torch.float32


def demo_model(match_dtype: str = "float32") -> Blip2:
    """The shipped model on the CPU."""
    model = load(DEMO, device="cpu", match_dtype=match_dtype)
    if not isinstance(model, Blip2):
        raise TypeError(f"The demo model is a {type(model).__name__}, not a Blip2.")
    return model


def name_of(dtype: torch.dtype) -> str:
    """As ``match_dtype`` names it."""
    return str(dtype).removeprefix("torch.")
