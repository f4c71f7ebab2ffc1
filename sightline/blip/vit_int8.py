"""The image encoder with the four products of each layer in int8 on a CPU (docs/decisions/143).

Norms, softmax and residual sums stay in float32; attention's own two products run in bfloat16 where the
processor has units for it, else in float32. A layer works picture by picture, so that what lies between two
products stays in the cache; a picture's numbers do not depend on those beside it.
Shapes: B images · S side · P patches · V width · I inputs · O outputs · M rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from sightline.blip.config import VisionConfig
from sightline.blip.headers import TensorEntry
from sightline.blip.int8_linear import Int8Linear
from sightline.blip.linears import attention_dtype
from sightline.blip.uninitialised import Uninitialised
from sightline.blip.vit import VisionLayer, VisionModel
from sightline.blip.vit_packed import attention, with_scaled_queries
from sightline.blip.weights import fill


class Int8Vision:
    """``[B,3,S,S]`` float32 pixels to ``[B,P,V]`` float32 patches, post-layernorm applied."""

    def __init__(self, model: VisionModel, layers: Iterable[VisionLayer]) -> None:
        """``model``: for its embeddings and its last norm, in float32; ``layers`` are quantised as they come.

        Raises:
            InputError: this processor multiplies no int8 (`sightline.blip.int8_linear`).
        """
        self._embeddings, self._norm = model.embeddings, model.post_layernorm
        inner = attention_dtype(torch.int8)
        self._layers = [_Int8Layer(layer, inner) for layer in layers]

    def __call__(self, pixels: Tensor) -> Tensor:
        x_BPV = self.some_layers(self._embeddings(pixels), len(self._layers))
        return self._norm(x_BPV)  # type: ignore[no-any-return]

    def some_layers(self, x_BPV: Tensor, count: int) -> Tensor:
        """The first ``count`` layers alone; ``x_BPV`` is written over."""
        for layer in self._layers[:count]:
            for x_PV in x_BPV:
                layer.work(x_PV)
        return x_BPV


def load_int8_vision(config: VisionConfig, tensors: Mapping[str, TensorEntry], prefix: str) -> Int8Vision:
    """Of a checkpoint's tensors, one layer after the other: at no time more than one of them in float32.

    Raises:
        CheckpointError: a tensor is missing or of another shape.
        InputError: this processor multiplies no int8.
    """
    with torch.device("meta"), Uninitialised():
        model = VisionModel(config)
    for name, part in (("embeddings", model.embeddings), ("post_layernorm", model.post_layernorm)):
        _fill(part, tensors, f"{prefix}{name}.")
    return Int8Vision(model, _read_layers(model, tensors, f"{prefix}encoder.layers."))


def taken_apart(model: VisionModel) -> Iterator[VisionLayer]:
    """The layers of a model that has its weights, each leaving it as it is given."""
    layers = model.encoder.layers
    while len(layers):
        yield layers.pop(0).float()  # type: ignore[misc]


def _read_layers(
    model: VisionModel, tensors: Mapping[str, TensorEntry], prefix: str
) -> Iterator[VisionLayer]:
    layers = model.encoder.layers
    for number in range(len(layers)):
        layer = layers.pop(0)
        _fill(layer, tensors, f"{prefix}{number}.")
        yield layer  # type: ignore[misc]


def _fill(module: nn.Module, tensors: Mapping[str, TensorEntry], prefix: str) -> None:
    fill(module, tensors, prefix=prefix, dtype=torch.float32, device=torch.device("cpu"))


def _linear(linear: nn.Linear) -> Int8Linear:
    bias = linear.bias if linear.bias is not None else linear.weight.new_zeros(linear.out_features)
    return Int8Linear(linear.weight, bias)


class _Int8Layer:
    def __init__(self, layer: VisionLayer, inner: torch.dtype) -> None:
        own, mlp = layer.self_attn, layer.mlp
        self._norm1, self._norm2 = layer.layer_norm1, layer.layer_norm2
        self._heads, self._inner = own.heads, inner
        self._qkv = _linear(with_scaled_queries(own.qkv, own.heads))
        self._projection, self._fc1, self._fc2 = map(_linear, (own.projection, mlp.fc1, mlp.fc2))
        self._activation = mlp.activation

    def work(self, x_PV: Tensor) -> None:
        """One picture through the layer, in place."""
        qkv = self._qkv(self._norm1(x_PV)).to(self._inner)
        x_PV += self._projection(attention(qkv[None], self._heads)[0])
        x_PV += self._fc2(self._activation(self._fc1(self._norm2(x_PV))))
