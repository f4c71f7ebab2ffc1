"""What the cross-attention sees of patches.

Shapes: V vision width · H width of the layers · h width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sightline.blip.scored import ScoredNetwork


def cross_attention_metric(network: ScoredNetwork) -> Tensor:
    """``[2,V,V]`` fp64: of keys as each head's queries see them, and of values after the output projection.

    Part 0 is Σ (W_qᵀ W_k)ᵀ (W_qᵀ W_k) over layers and heads, part 1 is Σ (W_o W_v)ᵀ (W_o W_v) over layers.
    """
    crosses = [one.crossattention for one in network.scored_layers() if one.crossattention is not None]
    width = crosses[0].attention.key.in_features
    metric_SVV = torch.zeros(2, width, width, dtype=torch.float64)
    for cross in crosses:
        asked, heads = cross.attention, cross.attention.heads
        modules = (asked.query, asked.key, asked.value, cross.output.dense)
        weights = [one.weight.detach().to("cpu", torch.float64) for one in modules]
        query_HH, key_HV, value_HV, output_HH = weights
        for query_hH, key_hV in zip(query_HH.chunk(heads), key_HV.chunk(heads), strict=True):
            seen_HV = query_hH.T @ key_hV
            metric_SVV[0] += seen_HV.T @ seen_HV
        made_HV = output_HH @ value_HV
        metric_SVV[1] += made_HV.T @ made_HV
    return metric_SVV
