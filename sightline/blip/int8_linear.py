"""A linear layer for inference in int8 on a CPU: ``x @ weightᵀ + bias`` with whole numbers inside.

The weight is quantised once, symmetrically and for each output channel; the input at every call, for each
row: ``step = max|x| / 127``, ``code = round(x · (1 / step))``, halves to even. The sum over the inputs is
exact in int32, so that the two roundings are all that is lost: about 1 % of the result (docs/decisions/139).
The product is ``torch._int_mm``, a private name, called in this module and nowhere else.

Processors without VNNI add pairs of products in 16 bits and saturate there. On that path oneDNN adds 128 to
the inputs, which makes them 255 at most, so weights of 7 bits, at most 64, keep every sum exact:
2 · 255 · 64 < 2¹⁵. A product at load time finds out, not the name of the processor.
Shapes: M rows (any number of leading dimensions) · I inputs · O outputs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import Tensor

from sightline.blip.activations import activation
from sightline.errors import InputError

_ROW_TOP: Final = 127
_WEIGHT_TOPS: Final = (127, 64)
"""Largest codes of a weight, the first that is exact here is taken."""
_LEAST_SPEED: Final = 0.25
"""Of float32's. A reference kernel is a hundred times slower, a product on a busy machine seldom four times;
which arithmetic is faster for a model is measured on the model."""
_PROBE_S: Final = 0.5
"""Enough to find the speed of both on a busy machine."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows in int8, for one product or several that read the same."""

    codes: Tensor
    """``[M,I]`` int8, one leading dimension."""
    scales: Tensor
    """``[M,1]`` fp32: what one step of a code is worth in each row."""
    leading: tuple[int, ...]
    """The leading dimensions that were given, whose product is M."""


class Int8Linear:
    """The layer. Use it where `available` says so."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor) -> None:
        """Quantise the weight.

        Raises:
            InputError: the weight is on a GPU, or int8 products are not exact on this processor.
        """
        if weight_OI.device.type != "cpu":
            raise InputError("The arithmetic int8 is built for CPUs only; use bfloat16 on a GPU.")
        top = weight_top()
        if top is None:
            raise InputError("This processor or build multiplies no int8; use bfloat16 or float32.")
        weight_OI = weight_OI.detach().float()
        scales_O1 = _steps(weight_OI, top)
        codes_OI = (weight_OI / scales_O1).round_().to(torch.int8)
        self._codes_IO = codes_OI.contiguous().t()
        self._scales_O = scales_O1.flatten()
        self._bias_O = bias_O.detach().float()

    def __call__(self, x_MI: Tensor | Rows, bias_O: Tensor | None = None) -> Tensor:
        """``[M,O]`` fp32 from ``[M,I]``; ``bias_O`` in place of the layer's own."""
        rows = x_MI if isinstance(x_MI, Rows) else quantise_rows(x_MI)
        found_MO = torch._int_mm(rows.codes, self._codes_IO).float()
        # One after the other: addcmul is no faster, and rounds otherwise where it is built with fused sums.
        found_MO.mul_(rows.scales).mul_(self._scales_O).add_(self._bias_O if bias_O is None else bias_O)
        return found_MO.view(*rows.leading, -1)

    def activated(self, x_MI: Tensor | Rows, name: str) -> Tensor:
        """``[M,O]`` fp32: the layer, then the activation of that name (blip/activations.py)."""
        return activation(name)(self(x_MI))


def quantise_rows(x_MI: Tensor) -> Rows:
    """Rows of any float type in int8, each with its own step."""
    flat_MI = x_MI.reshape(-1, x_MI.shape[-1]).float()
    scales_M1 = _steps(flat_MI, _ROW_TOP)
    codes_MI = (flat_MI * scales_M1.reciprocal()).round_().to(torch.int8)
    return Rows(codes_MI, scales_M1, tuple(x_MI.shape[:-1]))


def available() -> bool:
    """Whether this machine multiplies int8 exactly and by a kernel of its own.

    Measured once in a process, in a tenth of a second.
    """
    return weight_top() is not None and _speed() >= _LEAST_SPEED


@cache
def weight_top() -> int | None:
    """The largest code of a weight with which no sum saturates here; None where int8 cannot be used."""
    if not hasattr(torch, "_int_mm"):
        return None
    return next((top for top in _WEIGHT_TOPS if _is_exact(top)), None)


def _is_exact(top: int) -> bool:
    """Whether the largest values, of both signs, are multiplied exactly."""
    left = torch.full((64, 128), _ROW_TOP, dtype=torch.int8)
    right = torch.full((96, 128), top, dtype=torch.int8)
    left[::2], right[::3] = -left[::2], -right[::3]
    try:
        found = torch._int_mm(left, right.t())
    except RuntimeError:
        return False
    return torch.equal(found.double(), left.double() @ right.double().t())


@cache
def _speed() -> float:
    """How many times faster an int8 product of 128×768×768 is than a float32 one.

    The best of many each, since on a busy machine few are not interrupted; of three where they take long, as
    with the reference kernel that some builds fall to.
    """
    left, right = torch.ones(128, 768), torch.ones(768, 768)
    codes, other = left.to(torch.int8), right.to(torch.int8)
    best, started = [float("inf"), float("inf")], time.perf_counter()
    for round_ in range(60):
        began = time.perf_counter()
        if round_ >= 3 and began - started > _PROBE_S:
            break
        torch.mm(left, right.t())
        between = time.perf_counter()
        torch._int_mm(codes, other.t())
        best = [min(best[0], between - began), min(best[1], time.perf_counter() - between)]
    return best[0] / best[1]


def _steps(x_MI: Tensor, top: int) -> Tensor:
    """``[M,1]``: what one step of a code is worth, so that the largest value of a row becomes ``top``."""
    # Two reductions read the row twice, which is quicker than writing its absolute values.
    largest_M1 = torch.maximum(x_MI.amax(1, keepdim=True), x_MI.amin(1, keepdim=True).neg_())
    return largest_M1.clamp_min_(torch.finfo(torch.float32).tiny * _ROW_TOP).div_(top)
