"""In which precision pairs are scored: bfloat16 where it is fast here and keeps this checkpoint's order.

Shapes: K pairs · P patches · V vision width.
"""

from __future__ import annotations

import logging
import math
import threading
from typing import Final

import torch
from torch import Tensor

from sightline.blip.packed_linear import has_fast_bf16
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.scored import ScoredNetwork
from sightline.errors import InputError

log = logging.getLogger(__name__)

LEAST_TAU: Final = 0.95
"""bfloat16 must be expected to keep at least this Kendall τ to float32."""
_PAIRS: Final = 6
_IDS: Final = (2000, 2158, 1037, 2417, 3899, 2006)
"""Any words will do: what is compared is one arithmetic with the other."""


class PairScorers:
    """The scorers of one model, made when they are first needed. Thread-safe."""

    def __init__(self, network: ScoredNetwork, match_dtype: str, patch_norm: tuple[Tensor, Tensor]) -> None:
        """``match_dtype``: ``float32``, ``bfloat16`` or ``auto``; ``patch_norm``: weight and bias of the norm
        that patches come out of, ``[V]`` each.

        Raises:
            InputError: another name.
        """
        if match_dtype not in ("auto", "float32", "bfloat16"):
            raise InputError(f"The match dtype {match_dtype!r} is unknown; use auto, float32 or bfloat16.")
        self._network = network
        self._match_dtype = match_dtype
        self._patch_norm = patch_norm
        self._lock = threading.Lock()
        self._exact: PairScorer | None = None
        self._fast: PairScorer | None = None

    @property
    def exact(self) -> PairScorer:
        """Float32."""
        with self._lock:
            return self._get_exact()

    @property
    def fast(self) -> PairScorer:
        """The chosen one; with ``auto``, the first call takes up to a second to choose."""
        with self._lock:
            if self._fast is None:
                self._fast = self._choose()
            return self._fast

    def _get_exact(self) -> PairScorer:
        if self._exact is None:
            self._exact = PairScorer(self._network, torch.float32)
        return self._exact

    def _choose(self) -> PairScorer:
        if self._match_dtype == "float32":
            return self._get_exact()
        if self._match_dtype == "auto" and not has_fast_bf16(self._network.itm_head.weight.device):
            return self._get_exact()
        fast = PairScorer(self._network, torch.bfloat16)
        if self._match_dtype == "bfloat16":
            return fast
        tau = self._tau(fast)
        log.info("bfloat16 is expected to keep the order of pairs at a Kendall τ of %.3f", tau)
        return fast if tau >= LEAST_TAU else self._get_exact()

    def _tau(self, fast: PairScorer) -> float:
        """What `expected_tau` says of random patches."""
        patches = random_patches(*self._patch_norm, self._network.num_patches, _PAIRS)
        size = self._network.vocabulary
        device = self._network.itm_head.weight.device
        ids = torch.tensor([[number % size for number in _IDS]], device=device)
        exact = self._get_exact()(ids, patches.to(device))[:, 1]
        return expected_tau(exact, fast(ids, patches.to(device))[:, 1])


def random_patches(weight_V: Tensor, bias_V: Tensor, patches: int, pairs: int) -> Tensor:
    """``[K,P,V]`` with the statistics that the image encoder's last norm leaves, always the same.

    Half of the variance is common to the patches of an image, so that images differ from one another.
    """
    generator = torch.Generator().manual_seed(0)
    width = len(weight_V)
    noise = torch.randn(pairs, patches, width, generator=generator)
    common = torch.randn(pairs, 1, width, generator=generator)
    normal = torch.nn.functional.layer_norm(noise + common, (width,))
    return normal * weight_V.float().cpu() + bias_V.float().cpu()


def expected_tau(exact_K: Tensor, fast_K: Tensor) -> float:
    """Kendall τ between two scorings of many pairs, expected from their correlation ρ over a few.

    2/π · arcsin ρ (Greiner's relation, exact for normal scores), because counting exchanged pairs among so
    few would say nothing.
    """
    correlation = float(torch.corrcoef(torch.stack([exact_K.double(), fast_K.double()]))[0, 1])
    return 2 / math.pi * math.asin(max(-1.0, min(1.0, correlation))) if math.isfinite(correlation) else 0.0
