"""Matrix products in bfloat16 where the CPU multiplies it natively: stage 2 took 0.8 s a step instead of 1.3.

Weights, activations between the products, attention, norms and losses stay fp32. ``torch.autocast`` would
also take the attention, whose backward pass on CPUs is four times slower in bfloat16 than in fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HalfLinear(nn.Linear):
    """A linear layer that multiplies in bfloat16 and returns fp32."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.bfloat16()
        return F.linear(x.bfloat16(), self.weight.bfloat16(), bias).float()


def has_fast_bfloat16() -> bool:
    """Whether this CPU has bfloat16 instructions; emulation would be slower than fp32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def multiply_in_half(module: nn.Module) -> None:
    """Turn every linear layer inside into a `HalfLinear`; parameters and their names stay as they are."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = HalfLinear


def multiply_in_full(module: nn.Module) -> None:
    """Undo `multiply_in_half`."""
    for layer in module.modules():
        if isinstance(layer, HalfLinear):
            layer.__class__ = nn.Linear  # type: ignore[assignment]
