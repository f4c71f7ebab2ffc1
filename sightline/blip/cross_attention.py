"""Cross-attention for scoring, in two forms that give the same numbers.

``Folded`` forms neither keys nor values: the algebra of multi-head latent attention (arXiv 2405.04434, 2.1).
A patch is ``x = z B + m`` with a latent ``z``, a basis ``B`` and a mean ``m``. For head h

* scores ``q_h · (x Wk_hᵀ + bk_h) / √D = (q_h Wk_h Bᵀ / √D) · z + c``, where c is the same for every patch and
  so cancels in the softmax: neither the key bias nor the mean matters;
* values ``Σ_p a_p (x_p Wv_hᵀ + bv_h) = (Σ_p a_p z_p) (B Wv_hᵀ) + (m Wv_hᵀ + bv_h)``, because ``Σ a = 1``.
  What is constant there goes through the output projection into its bias.

So queries are taken into the latent space, attend to the latents themselves, and what they gathered is taken
out again. ``Direct`` forms keys and values of every patch, which is faster when the latent is as wide as the
patches (ViT-g on 2 CPU cores: 36 against 47 ms a pair in bfloat16, 90 against 135 in float32).
Shapes: J pairs, or 1 while all pairs share their queries · K pairs · Q query tokens · N heads · D width of a
head · P patches · R latent rank · V vision width · H = N·D · X rows of several pairs · B batch.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.blip.latents import Basis
from sightline.blip.linears import attention_dtype, linear
from sightline.blip.scored import Attending


class CrossAttention(Protocol):
    """What a layer's queries gather from the patches, in one form or the other."""

    @property
    def output_bias(self) -> Tensor:
        """``[H]``: the output projection's bias, with all that is constant over the patches."""
        ...

    def __call__(self, queries_JQH: Tensor, latent_KPR: Tensor) -> Tensor:
        """``[K,Q,H]``, before the output projection, from projected queries."""
        ...


class Folded:
    """Attention to the latents themselves; with no basis, to the patches."""

    @torch.no_grad()
    def __init__(self, cross: Attending, basis: Basis | None, dtype: torch.dtype) -> None:
        heads = cross.attention.heads
        keys_NDR = cross.attention.key.weight.unflatten(0, (heads, -1))
        values_NRD = cross.attention.value.weight.unflatten(0, (heads, -1)).transpose(1, 2)
        scale = 1 / math.sqrt(keys_NDR.shape[1])
        if basis is not None:
            components_RV = basis.components.to(keys_NDR)
            keys_NDR, values_NRD = keys_NDR @ components_RV.T, components_RV @ values_NRD
        self._keys_NDR = (keys_NDR * scale).to(attention_dtype(dtype))
        self._values_NRD = values_NRD.to(attention_dtype(dtype))
        self.output_bias = _output_bias(cross, None if basis is None else basis.mean)

    def __call__(self, queries_JQH: Tensor, latent_KPR: Tensor) -> Tensor:
        pairs, (heads, width, rank) = len(latent_KPR), self._keys_NDR.shape
        queries_NXD = queries_JQH.reshape(-1, heads, width).transpose(0, 1)
        asked_NJQR = torch.bmm(queries_NXD, self._keys_NDR).view(heads, *queries_JQH.shape[:2], rank)
        # One matrix of all heads' queries for each pair, so that one product reads its latent.
        asked_KXR = asked_NJQR.transpose(0, 1).flatten(1, 2).expand(pairs, -1, -1)
        gathered_KXR = attention(asked_KXR, latent_KPR, latent_KPR)
        gathered_NXR = gathered_KXR.unflatten(1, (heads, -1)).transpose(0, 1).flatten(1, 2)
        values_NXD = torch.bmm(gathered_NXR, self._values_NRD)
        return values_NXD.transpose(0, 1).reshape(pairs, -1, heads * width)


class Direct:
    """Attention to keys and values of every patch, both from one product; the latent is the patches."""

    @torch.no_grad()
    def __init__(self, cross: Attending, dtype: torch.dtype) -> None:
        key, value = cross.attention.key.weight, cross.attention.value.weight
        self._heads = cross.attention.heads
        self._width = len(key) // self._heads
        scale = 1 / math.sqrt(self._width)
        weight_OV = torch.cat([key * scale, value])
        self._keys_values = linear(weight_OV, weight_OV.new_zeros(len(weight_OV)), dtype)
        self._dtype = attention_dtype(dtype)
        self.output_bias = _output_bias(cross, None)

    def __call__(self, queries_JQH: Tensor, latent_KPR: Tensor) -> Tensor:
        pairs, heads = len(latent_KPR), self._heads
        projected = (
            self._keys_values(latent_KPR.flatten(0, 1)).to(self._dtype).view(pairs, -1, 2, heads, self._width)
        )
        keys, values = projected.permute(2, 0, 3, 1, 4)  # [K,N,P,D] each
        queries = queries_JQH.unflatten(2, (heads, -1)).transpose(1, 2).expand(pairs, -1, -1, -1)
        seen = attention(queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1))
        return seen.view(pairs, heads, -1, self._width).transpose(1, 2).flatten(2)


def attention(queries_BQD: Tensor, keys_BPD: Tensor, values_BPD: Tensor) -> Tensor:
    """``softmax(queries · keysᵀ) · values``: ``[B,Q,D]``; the scale is in the queries or keys already."""
    if queries_BQD.is_cuda:
        # Fused: the scores never reach the GPU's memory.
        queries, keys, values = (one[:, None] for one in (queries_BQD, keys_BPD, values_BPD))
        fused: Tensor = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        return fused[:, 0]
    # On a CPU, products and a softmax take half the time of the fused kernel at these sizes.
    scores_BQP = torch.bmm(queries_BQD, keys_BPD.transpose(1, 2))
    return torch.bmm(scores_BQP.softmax(dim=2), values_BPD)


def _output_bias(cross: Attending, mean_V: Tensor | None) -> Tensor:
    """What the output projection adds for every query, whatever it attended to: ``[H]``."""
    value, dense = cross.attention.value, cross.output.dense
    constant_H = value.bias if mean_V is None else value.weight @ mean_V.to(value.weight) + value.bias
    return dense.weight @ constant_H + dense.bias
