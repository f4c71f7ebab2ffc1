"""What the cross-attention sees of patches. Shapes: V vision width · H Q-Former width · h width of a head."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from sightline.blip.network import Blip2Network

_QUERY: Final = "crossattention.attention.query.weight"
_KEY: Final = "crossattention.attention.key.weight"
_VALUE: Final = "crossattention.attention.value.weight"
_OUTPUT: Final = "crossattention.output.dense.weight"


def cross_attention_metric(network: Blip2Network) -> Tensor:
    """``[2,V,V]`` fp64: of keys as each head's queries see them, and of values after the output projection.

    Part 0 is Σ (W_qᵀ W_k)ᵀ (W_qᵀ W_k) over layers and heads, part 1 is Σ (W_o W_v)ᵀ (W_o W_v) over layers.
    """
    weights = {name: weight.detach() for name, weight in network.qformer.named_parameters()}
    heads = network.config.qformer_config.num_attention_heads
    width = network.config.qformer_config.encoder_hidden_size
    metric_SVV = torch.zeros(2, width, width, dtype=torch.float64)
    for layer in (name.removesuffix(_KEY) for name in weights if name.endswith(_KEY)):
        query_HH, key_HV, value_HV, output_HH = (
            weights[layer + part].to("cpu", torch.float64) for part in (_QUERY, _KEY, _VALUE, _OUTPUT)
        )
        for query_hH, key_hV in zip(query_HH.chunk(heads), key_HV.chunk(heads), strict=True):
            seen_HV = query_hH.T @ key_hV
            metric_SVV[0] += seen_HV.T @ seen_HV
        made_HV = output_HH @ value_HV
        metric_SVV[1] += made_HV.T @ made_HV
    return metric_SVV
