"""The image encoder made ready for inference on a CPU in bfloat16: blip/vit.py's arithmetic in fewer passes.

Weights are packed once, GELU and residual sums are fused into the products, and attention is two batched
products per image through one small buffer: at a head's width of 88 that takes half the time of torch's
flash kernel.
Shapes: B images · S side · P patches · V width · N heads · C width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sightline.blip.packed_linear import PackedLinear, packs
from sightline.blip.vit import VisionLayer, VisionModel


class PackedVision:
    """``[B,3,S,S]`` pixels to ``[B,P,V]`` patches, post-layernorm applied. Takes the model's layers apart."""

    def __init__(self, model: VisionModel) -> None:
        self._embeddings = model.embeddings
        self._norm = model.post_layernorm
        self._layers: list[_PackedLayer] = []
        layers = model.encoder.layers
        while len(layers):  # one at a time: never two copies of all weights
            self._layers.append(_PackedLayer(layers.pop(0)))  # type: ignore[arg-type]

    def __call__(self, pixels: Tensor) -> Tensor:
        x_BPV = self.some_layers(self._embeddings(pixels), len(self._layers))
        return self._norm(x_BPV)  # type: ignore[no-any-return]

    def some_layers(self, x_BPV: Tensor, count: int) -> Tensor:
        """The first ``count`` layers alone."""
        for layer in self._layers[:count]:
            x_BPV = layer(x_BPV)
        return x_BPV


def can_pack_vision(model: VisionModel) -> bool:
    """Whether this machine has the kernels, and the weights are of the type, that packing is for."""
    return packs(model.post_layernorm.weight)


class _SumLinear(PackedLinear):
    """A packed layer that can add its result to something else on the way out."""

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """``other + x @ weightᵀ + bias``."""
        if not self._packed:
            return other + self(x)
        total: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self._weight, self._bias_O, "add")
        return total


class _PackedLayer:
    def __init__(self, layer: VisionLayer) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._norm1, self._norm2 = layer.layer_norm1, layer.layer_norm2
        self._heads = attention.heads
        self._qkv = _packed(with_scaled_queries(attention.qkv, attention.heads))
        self._projection = _packed(attention.projection)
        self._fc1, self._fc2 = _packed(mlp.fc1), _packed(mlp.fc2)
        self._activation = mlp.activation_name

    def __call__(self, x_BPV: Tensor) -> Tensor:
        attended_BPV = attention(self._qkv(self._norm1(x_BPV)), self._heads)
        x_BPV = self._projection.plus(attended_BPV, x_BPV)
        return self._fc2.plus(self._fc1.activated(self._norm2(x_BPV), self._activation), x_BPV)


def _packed(linear: nn.Linear) -> _SumLinear:
    bias = linear.bias if linear.bias is not None else linear.weight.new_zeros(linear.out_features)
    return _SumLinear(linear.weight, bias, linear.weight.dtype)


@torch.no_grad()
def with_scaled_queries(qkv: nn.Linear, heads: int) -> nn.Linear:
    """The joint projection with attention's 1/√C multiplied into the rows of the queries, in place."""
    width = qkv.in_features
    for parameter in (qkv.weight, qkv.bias):
        if parameter is not None:
            parameter[:width] = parameter[:width].float() * (width // heads) ** -0.5
    return qkv


def attention(qkv: Tensor, heads: int) -> Tensor:
    """``[B,P,3V]`` (queries already scaled, keys, values) to ``[B,P,V]``, image by image."""
    batch, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    parts_B3NPC = qkv.view(batch, length, 3, heads, width // heads).permute(0, 2, 3, 1, 4)
    scores_NPP = qkv.new_empty(heads, length, length)
    weights_NPP = torch.empty_like(scores_NPP)
    out_BPNC = qkv.new_empty(batch, length, heads, width // heads)
    for parts, out in zip(parts_B3NPC, out_BPNC, strict=True):
        queries, keys, values = parts.contiguous()  # [N,P,C] each: oneDNN would copy them one by one
        torch.bmm(queries, keys.transpose(1, 2), out=scores_NPP)
        torch.softmax(scores_NPP, -1, out=weights_NPP)
        out.copy_(torch.bmm(weights_NPP, values).transpose(0, 1))
    return out_BPNC.view(batch, length, width)
