"""Where a match came from: Grad-CAM on the cross-attention, for BLIP and BLIP-2.

With A the probabilities of one layer's cross-attention and G the gradient of the match logit by them, the
reference (LAVIS ``models/blip_models/blip_image_text_matching.py``, ``compute_gradcam``; arXiv 1610.02391 for
the idea) shows A · max(G, 0), averaged over the heads, for each position that looks and each patch:

* in a BLIP the text looks, so a word has the rows of its tokens, and the whole text their average;
* in a BLIP-2 the query tokens look, so the whole text has their average. A word goes through the queries that
  read it: with S the self-attention of the next layer and G' its gradient, a query is worth
  r_q = mean over heads of S_qw · max(G'_qw, 0), and the word's map is Σ_q r_q A_q.

Which layer: of those that cross-attend the seventh of a BLIP's twelve, as in the reference, and the last one
of the first half of a BLIP-2's (docs/decisions/171-why-is-measured-by-pointing.md). The map of [CLS], which
is no place, is left out. All in float32, on the network's own modules. Compressed patches are made whole,
which is the fold's arithmetic in another order (sightline/blip/cross_attention.py).

Shapes: K pairs · S positions · Q of them that look · L text tokens · H width · N heads · P patches ·
V vision width · W words · Y, X cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from sightline.blip.latents import Latents
from sightline.blip.qformer import Intermediate, MultiHeadAttention, ResidualNorm
from sightline.blip.scored import Attending, ScoredLayer, ScoredNetwork
from sightline.blip.text_words import TextWord

_AT_ONCE = 4
"""Pairs that go through the layers together: gradients keep what every layer made."""


@dataclass(frozen=True, eq=False)
class HeatMaps:
    """K pictures and one text; no value is below 0."""

    words: tuple[TextWord, ...]
    logits: Tensor
    """``[K,2]`` fp32."""
    whole: Tensor
    """``[K,Y,X]`` of the whole text."""
    by_word: Tensor
    """``[K,W,Y,X]``."""

    @staticmethod
    def joined(parts: Sequence[HeatMaps]) -> HeatMaps:
        """All pictures of one or more parts, of one text."""
        logits, whole, by_word = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("logits", "whole", "by_word")
        )
        return HeatMaps(parts[0].words, logits, whole, by_word)


def heat_maps(
    network: ScoredNetwork, ids_1L: Tensor, words: Sequence[TextWord], patches: Tensor | Latents
) -> HeatMaps:
    """Of one unpadded text and ``[K,P,V]`` patches, K ≥ 1, on the network's device."""
    rows = range(0, len(patches), _AT_ONCE)
    parts = [_some(patches, slice(row, row + _AT_ONCE)) for row in rows]
    return HeatMaps.joined([_heat(network, ids_1L, words, part) for part in parts])


def _some(patches: Tensor | Latents, part: slice) -> Tensor:
    if isinstance(patches, Latents):
        return Latents(patches.codes[part], patches.scales[part], patches.basis).patches()
    return patches[part]


def _heat(network: ScoredNetwork, ids_1L: Tensor, words: Sequence[TextWord], patches_KPV: Tensor) -> HeatMaps:
    # Outside of inference mode even where the caller is in it; what was made there knows no gradients.
    with torch.inference_mode(False), torch.enable_grad():
        own_KPV = patches_KPV.to(network.itm_head.weight.device, torch.float32).clone()
        seen = _looked(network, ids_1L.clone(), own_KPV)
        match_K = seen.logits[:, 1]
        by_cross, by_self = torch.autograd.grad(match_K.sum(), (seen.crossing, seen.reading))
    cross_KNQP, self_KNSS = seen.crossing.detach(), seen.reading.detach()
    maps_KQP = (cross_KNQP * by_cross.clamp_min(0)).mean(dim=1)
    lead = self_KNSS.shape[2] - ids_1L.shape[1]
    if lead:
        worth_KQL = (self_KNSS * by_self.clamp_min(0)).mean(dim=1)[:, :lead, lead:]
        by_token_KLP = worth_KQL.transpose(1, 2) @ cross_KNQP.mean(dim=1)
        whole_KP = maps_KQP.mean(dim=1)
    else:
        by_token_KLP = maps_KQP
        whole_KP = maps_KQP[:, 1:-1].mean(dim=1)  # without [ENC] and [SEP], as the reference
    word_maps = [by_token_KLP[:, list(word.tokens)].sum(dim=1) for word in words]
    by_word_KWP = torch.stack(word_maps, dim=1) if word_maps else by_token_KLP[:, :0]
    return HeatMaps(tuple(words), seen.logits.detach(), _grid(whole_KP), _grid(by_word_KWP))


def _grid(maps_xP: Tensor) -> Tensor:
    """Without [CLS], as the picture's rows and columns: ``[…,Y,X]``."""
    side = isqrt(maps_xP.shape[-1] - 1)
    cells: Tensor = maps_xP[..., 1:].unflatten(-1, (side, side))
    return cells


@dataclass(frozen=True, eq=False)
class _Seen:
    """One pass: logits ``[K,2]`` and the attention that they are derived by, which gradients reach."""

    logits: Tensor
    crossing: Tensor
    """``[K,N,Q,P]`` of the explained layer."""
    reading: Tensor
    """``[K,N,S,S]`` of the next one; of the same where there is none."""


def heat_layer(layers: Sequence[ScoredLayer]) -> int:
    """The number of the layer whose cross-attention is shown."""
    crossing = [at for at, layer in enumerate(layers) if layer.crossattention is not None]
    text_looks = layers[0].reading_block is None
    return crossing[len(crossing) // 2 if text_looks else (len(crossing) - 1) // 2]


def _looked(network: ScoredNetwork, ids_1L: Tensor, patches_KPV: Tensor) -> _Seen:
    layers = network.scored_layers()
    shown = heat_layer(layers)
    following = min(shown + 1, len(layers) - 1)
    states_KSH = network.first_states(ids_1L).detach().expand(len(patches_KPV), -1, -1)
    looking = network.looking(states_KSH.shape[1])
    crossing = reading = patches_KPV
    for number, layer in enumerate(layers):
        read_KNSS = _probabilities(layer.attention.attention, states_KSH, states_KSH)
        if number == shown:
            read_KNSS = read_KNSS.detach().requires_grad_()  # nothing before it is derived
        reading = read_KNSS if number == following else reading
        states_KSH = _gathered(layer.attention, read_KNSS, states_KSH, states_KSH)
        looks_KQH, text_KLH = states_KSH[:, :looking], states_KSH[:, looking:]
        if layer.crossattention is not None:
            seen_KNQP = _probabilities(layer.crossattention.attention, looks_KQH, patches_KPV)
            crossing = seen_KNQP if number == shown else crossing
            looks_KQH = _gathered(layer.crossattention, seen_KNQP, looks_KQH, patches_KPV)
        states_KSH = _fed(layer.looking_block, looks_KQH)
        if layer.reading_block is not None:
            states_KSH = torch.cat([states_KSH, _fed(layer.reading_block, text_KLH)], dim=1)
    logits_K2 = network.itm_head(states_KSH[:, : network.judged].mean(dim=1))
    return _Seen(logits_K2, crossing, reading)


def _split(attended: MultiHeadAttention, x_KSH: Tensor) -> Tensor:
    heads_KNSD: Tensor = x_KSH.unflatten(2, (attended.heads, -1)).transpose(1, 2)
    return heads_KNSD


def _probabilities(attended: MultiHeadAttention, x_KSH: Tensor, context_KCV: Tensor) -> Tensor:
    """``[K,N,S,C]``."""
    query_KNSD = _split(attended, attended.query(x_KSH))
    key_KNCD = _split(attended, attended.key(context_KCV))
    scores_KNSC = query_KNSD @ key_KNCD.transpose(2, 3) / math.sqrt(query_KNSD.shape[3])
    return scores_KNSC.softmax(dim=3)


def _gathered(module: Attending, probabilities_KNSC: Tensor, x_KSH: Tensor, context_KCV: Tensor) -> Tensor:
    """What was attended to, projected, added and normed: ``[K,S,H]``."""
    value_KNCD = _split(module.attention, module.attention.value(context_KCV))
    gathered_KSH = (probabilities_KNSC @ value_KNCD).transpose(1, 2).flatten(2)
    return _normed(module.output, gathered_KSH, x_KSH)


def _fed(block: tuple[Intermediate, ResidualNorm], x_KSH: Tensor) -> Tensor:
    first, second = block
    return _normed(second, first(x_KSH), x_KSH)


def _normed(module: ResidualNorm, x_KSI: Tensor, residual_KSH: Tensor) -> Tensor:
    """Without dropout, whatever mode the network is in."""
    return module.LayerNorm(module.dense(x_KSI) + residual_KSH)  # type: ignore[no-any-return]
