"""ITM logits of one text against many pictures, from patches or from their compressed form.

The arithmetic is that of the network's own ``itm_logits`` (LAVIS ``compute_itm``), ordered for one text:

* nothing is padded; the text's embedding, and the first self-attention (no picture has been seen yet), are
  computed once for all pairs;
* the cross-attention to compressed patches forms neither keys nor values, and where few positions look,
  neither does that to the patches themselves (sightline/blip/cross_attention.py);
* the last layer computes only the positions that the head judges, and their average is taken before the
  head, which is linear.

Shapes: J pairs, or 1 while all pairs share their states · K pairs · Q positions that look at patches ·
L others · S = Q + L · H width · N heads · D width of a head · P patches · V vision width · R latent rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from sightline.blip.cross_attention import CrossAttention, Direct, Folded, attention
from sightline.blip.latents import Basis, Latents
from sightline.blip.linears import Linear, attention_dtype, linear
from sightline.blip.pair_states import PairStates
from sightline.blip.qformer import Intermediate, MultiHeadAttention, ResidualNorm
from sightline.blip.recorded import recorder_for
from sightline.blip.scored import ScoredLayer, ScoredNetwork

_BASES_KEPT = 4
"""Bases whose folded weights stay in memory: those of the collections that are being searched."""
_AT_ONCE = {"cpu": 20, "cuda": 256}
"""Pairs that go through the layers together: on a CPU, what stays in its caches."""
_DIRECT_FROM = 3
"""Folding costs N·Q·R a patch where keys and values cost V·H: less while Q is below the width of a head. Its
products are slower ones, so that keys and values are formed from a third of that width on."""


class PairScorer:
    """Scores pairs in one arithmetic: float32, which is stock's, bfloat16 or int8 (blip/linears.py).
    Thread-safe; the weights must not change."""

    def __init__(self, network: ScoredNetwork, dtype: torch.dtype, at_once: int | None = None) -> None:
        self.dtype = dtype
        self._attention_dtype = attention_dtype(dtype)
        self._network = network
        self._layers = [_Layer(one, dtype) for one in network.scored_layers()]
        self._crosses: dict[tuple[str | None, bool], list[CrossAttention | None]] = {}
        self._at_once = at_once or _AT_ONCE.get(network.itm_head.weight.device.type, 20)
        self.recorder = recorder_for(network.itm_head.weight.device)
        """Replays what came before, on a GPU; None launches every kernel by itself."""

    @property
    def layers(self) -> int:
        """How many layers a pair goes through."""
        return len(self._layers)

    @torch.inference_mode()
    def __call__(self, ids_1L: Tensor, patches: Tensor | Latents) -> Tensor:
        """Logits ``[K,2]`` fp32, averaged over what is judged, for unpadded ids and ``[K,P,V]`` patches."""
        start = self._start(ids_1L)
        logits_K2 = start.hidden.new_empty(len(patches), 2)
        for part in _even_parts(len(patches), self._at_once):
            logits_K2[part] = self.logits(self._through(start, _some(patches, part), self.layers))
        return logits_K2

    @torch.inference_mode()
    def look(self, ids_1L: Tensor, patches: Tensor | Latents, layers: int) -> PairStates:
        """The pairs after their first ``layers`` layers, 1 to all."""
        start = self._start(ids_1L)
        parts = _even_parts(len(patches), self._at_once)
        return PairStates.joined([self._through(start, _some(patches, part), layers) for part in parts])

    @torch.inference_mode()
    def look_on(self, states: PairStates, patches: Tensor | Latents, layers: int) -> PairStates:
        """The pairs, whose patches these are in the same order, after more layers: ``layers`` in all."""
        parts = _even_parts(len(patches), self._at_once)
        return PairStates.joined(
            [self._through(states.of(part), _some(patches, part), layers) for part in parts]
        )

    @torch.inference_mode()
    def logits(self, states: PairStates) -> Tensor:
        """``[K,2]`` fp32 of pairs that went through all layers."""
        logits: Tensor = self._network.itm_head(states.pooled())
        return logits

    def _start(self, ids_1L: Tensor) -> PairStates:
        """Before a picture was seen, when all pairs are the same; the first self-attention is done."""
        shared_1SH = self._layers[0].see_text(self._network.first_states(ids_1L))
        looking = self._network.looking(shared_1SH.shape[1])
        return PairStates(shared_1SH, 0, self._network.judged, looking)

    def _through(self, states: PairStates, patches: Tensor | Latents, layers: int) -> PairStates:
        """The pairs after ``layers`` layers in all."""
        if self.recorder is None:
            return self._pass(states, patches, layers)
        basis = patches.basis if isinstance(patches, Latents) else None
        weights = self._crossing(basis, states.looking)
        return self.recorder(self._pass, states, patches, layers, weights)

    def _pass(self, states: PairStates, patches: Tensor | Latents, layers: int) -> PairStates:
        """The same, kernel by kernel."""
        latent_KPR = self._latent(patches)
        basis = patches.basis if isinstance(patches, Latents) else None
        crosses = self._crossing(basis, states.looking)
        hidden_JSH, last = states.hidden, self._layers[-1]
        for number in range(states.layers, layers):
            layer = self._layers[number]
            if number:
                hidden_JSH = layer.see_text(hidden_JSH, states.judged if layer is last else None)
            hidden_JSH = layer.see_picture(hidden_JSH, states.looking, crosses[number], latent_KPR)
        return replace(states, hidden=hidden_JSH, layers=layers)

    def _latent(self, patches: Tensor | Latents) -> Tensor:
        """``[K,P,R]`` in the dtype of attention."""
        # Rounded once, after the product: a scale in bfloat16 would put one error on a whole patch.
        found = patches.latent() if isinstance(patches, Latents) else patches
        return found.to(self._attention_dtype)

    def _crossing(self, basis: Basis | None, looking: int) -> list[CrossAttention | None]:
        """The cross-attentions to patches in a basis, kept for the next query."""
        name = None if basis is None else basis.id
        direct = basis is None and looking * _DIRECT_FROM > self._layers[0].head_width
        found = self._crosses.get((name, direct))
        if found is None:
            found = [layer.cross_attention(basis, direct) for layer in self._layers]
            self._crosses = dict([*self._crosses.items(), ((name, direct), found)][-_BASES_KEPT:])
        return found


class _Layer:
    """One layer laid out for inference; states stay in fp32 between the products."""

    def __init__(self, layer: ScoredLayer, dtype: torch.dtype) -> None:
        self._dtype, self._attention_dtype = dtype, attention_dtype(dtype)
        self._heads = layer.attention.attention.heads
        self.head_width = layer.attention.attention.query.out_features // self._heads
        self._qkv = _joint_projection(layer.attention.attention, dtype)
        self._attended = _AddNorm(layer.attention.output, dtype)
        self._cross = layer.crossattention
        if self._cross is not None:
            query = self._cross.attention.query
            self._cross_query = linear(query.weight, query.bias, dtype)
            self._cross_attended = _AddNorm(self._cross.output, dtype)
        self._looking_block = _FeedForward(*layer.looking_block, dtype)
        self._reading_block = None
        if layer.reading_block is not None:
            self._reading_block = _FeedForward(*layer.reading_block, dtype)

    def cross_attention(self, basis: Basis | None, direct: bool) -> CrossAttention | None:
        """The cross-attention to patches in a basis; None in a layer without one."""
        if self._cross is None:
            return None
        return Direct(self._cross, self._dtype) if direct else Folded(self._cross, basis, self._dtype)

    def see_text(self, states_JSH: Tensor, only: int | None = None) -> Tensor:
        """Self-attention with its norm: ``[J,S,H]``, or ``[J,only,H]`` for the first positions alone."""
        pairs, length, width = states_JSH.shape
        qkv = self._qkv(states_JSH.reshape(-1, width)).to(self._attention_dtype)
        # [J·S,3H] → [3,J·N,S,D]: one copy that spares the products theirs
        qkv = qkv.view(pairs, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2)
        seen = attention(qkv[0, :, :only], qkv[1], qkv[2]).unflatten(0, (pairs, self._heads))
        return self._attended(seen.transpose(1, 2).flatten(2), states_JSH[:, :only])

    def see_picture(
        self, states_JSH: Tensor, looking: int, cross: CrossAttention | None, latent_KPR: Tensor
    ) -> Tensor:
        """Cross-attention of the first positions and the feed-forward blocks: ``[K,S,H]``."""
        queries_JQH, text_JLH = states_JSH[:, :looking], states_JSH[:, looking:]
        if cross is not None:
            asked_JQH = self._cross_query(queries_JQH).to(self._attention_dtype)
            queries_JQH = self._cross_attended(cross(asked_JQH, latent_KPR), queries_JQH, cross.output_bias)
        queries_JQH = self._looking_block(queries_JQH)
        if self._reading_block is None or text_JLH.shape[1] == 0:
            return queries_JQH
        text_JLH = self._reading_block(text_JLH)
        return torch.cat([queries_JQH, text_JLH.expand(len(queries_JQH), -1, -1)], dim=1)


class _AddNorm:
    """``LayerNorm(residual + dense(x))``; the sum and the norm in fp32."""

    def __init__(self, module: ResidualNorm, dtype: torch.dtype) -> None:
        self._dense = linear(module.dense.weight, module.dense.bias, dtype)
        self._norm = module.LayerNorm

    def __call__(self, x_KSI: Tensor, residual_JSH: Tensor, bias_H: Tensor | None = None) -> Tensor:
        return self._norm(self._dense(x_KSI, bias_H) + residual_JSH)  # type: ignore[no-any-return]


class _FeedForward:
    """Two linear layers around an activation, residual and norm."""

    def __init__(self, first: Intermediate, second: ResidualNorm, dtype: torch.dtype) -> None:
        self._first = linear(first.dense.weight, first.dense.bias, dtype)
        self._second = _AddNorm(second, dtype)
        self._name = first.activation_name

    def __call__(self, states_KSH: Tensor) -> Tensor:
        return self._second(self._first.activated(states_KSH, self._name), states_KSH)


def _joint_projection(attended: MultiHeadAttention, dtype: torch.dtype) -> Linear:
    """Queries, keys and values from one product; the attention's scale is in the queries."""
    scale = 1 / math.sqrt(len(attended.query.weight) // attended.heads)
    weight = torch.cat([attended.query.weight * scale, attended.key.weight, attended.value.weight])
    bias = torch.cat([attended.query.bias * scale, attended.key.bias, attended.value.bias])
    return linear(weight, bias, dtype)


def _some(patches: Tensor | Latents, part: slice) -> Tensor | Latents:
    if isinstance(patches, Latents):
        return Latents(patches.codes[part], patches.scales[part], patches.basis)
    return patches[part]


def _even_parts(count: int, at_most: int) -> Iterator[slice]:
    """Slices of nearly equal size, none larger than ``at_most``."""
    parts = math.ceil(count / at_most)
    return (slice(part * count // parts, (part + 1) * count // parts) for part in range(parts))
