"""A linear layer for inference whose weight is kept in the order in which the CPU's kernel reads it.

``F.linear`` in bfloat16 on a CPU reorders the weight at every call. oneDNN can keep it reordered, and apply
the GELU before the product leaves the cache; PyTorch offers both to its own compiler only
(``torch.ops.mkldnn``, private names), so they are called in this module and nowhere else, and where they are
missing the plain layer gives the same numbers.
Shapes: M rows · I inputs · O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.blip.activations import activation, is_erf_gelu

_TYPICAL_ROWS = 512
"""The reordering asks for how many rows it should be best; any number works."""


class PackedLinear:
    """``x @ weightᵀ + bias``, with or without an activation, in one dtype."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor, dtype: torch.dtype) -> None:
        weight_OI = weight_OI.detach().to(dtype)
        self._bias_O = bias_O.detach().to(dtype)
        self._packed = packs(weight_OI)
        self._weight = _reorder(weight_OI.contiguous()) if self._packed else weight_OI

    def __call__(self, x_MI: Tensor, bias_O: Tensor | None = None) -> Tensor:
        """``[M,O]`` from ``[M,I]``; ``bias_O`` in place of the layer's own."""
        bias_O = self._bias_O if bias_O is None else bias_O
        if not self._packed:
            return F.linear(x_MI, self._weight, bias_O)
        return _pointwise(x_MI, self._weight, bias_O, "none")

    def activated(self, x_MI: Tensor, name: str) -> Tensor:
        """``[M,O]``: the layer, then the activation of that name (blip/activations.py)."""
        if self._packed and is_erf_gelu(name):
            return _pointwise(x_MI, self._weight, self._bias_O, "gelu")
        return activation(name)(self(x_MI))


def packs(weight_OI: Tensor) -> bool:
    """Whether reordering pays for this weight and PyTorch has the operations for it."""
    if weight_OI.device.type != "cpu" or weight_OI.dtype != torch.bfloat16:
        return False
    names = ("_linear_pointwise", "_reorder_linear_weight")
    return has_fast_bf16(weight_OI.device) and all(hasattr(torch.ops.mkldnn, name) for name in names)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        return False  # whatever the processor has, the kernels were told to do without
    return any(getattr(torch.cpu, name, _no)() for name in _CPU_CHECKS)


_CPU_CHECKS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def _no() -> bool:
    return False


def _reorder(weight_OI: Tensor) -> Tensor:
    reordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight_OI, _TYPICAL_ROWS)
    return reordered


def _pointwise(x_MI: Tensor, weight: Tensor, bias_O: Tensor, after: str) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x_MI, weight, bias_O, after, [], "none")
    return result
