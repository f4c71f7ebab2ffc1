"""Linear layers by arithmetic: float32, bfloat16 or int8, with one shape for all three.

Only the products of weights are int8. What attention multiplies, which the picture or the text decides anew
each time, stays in bfloat16 where the machine has it and in float32 elsewhere; residuals, norms and the
states between the layers are float32.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from sightline.blip.int8_linear import Int8Linear
from sightline.blip.packed_linear import PackedLinear, has_fast_bf16


class Linear(Protocol):
    """``x @ weightᵀ + bias``. Shapes: M rows · I inputs · O outputs."""

    def __call__(self, x_MI: Tensor, bias_O: Tensor | None = None) -> Tensor:
        """``[M,O]`` from ``[M,I]`` of any float type; ``bias_O`` in place of the layer's own."""
        ...

    def activated(self, x_MI: Tensor, name: str) -> Tensor:
        """``[M,O]``: the layer, then the activation of that name (blip/activations.py)."""
        ...


def linear(weight_OI: Tensor, bias_O: Tensor, dtype: torch.dtype) -> Linear:
    """The layer in float32, bfloat16 or int8.

    Raises:
        InputError: int8 where it is not built for (sightline/blip/int8_linear.py).
    """
    return Int8Linear(weight_OI, bias_O) if dtype == torch.int8 else PackedLinear(weight_OI, bias_O, dtype)


def attention_dtype(dtype: torch.dtype) -> torch.dtype:
    """What attention multiplies in beside linear layers of ``dtype``."""
    if dtype != torch.int8:
        return dtype
    return torch.bfloat16 if has_fast_bf16(torch.device("cpu")) else torch.float32
