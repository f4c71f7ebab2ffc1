"""What stands between the two linear layers of a feed-forward block, by the names that checkpoints use.

The names are those of transformers' ``ACT2FN``; several of them mean the same function. Unknown ones are
refused where the configuration is read (`sightline.blip.config_values`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


_TANH_GELU: Activation = partial(F.gelu, approximate="tanh")
_KNOWN: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu_python": F.gelu,
    "gelu_new": _TANH_GELU,
    "gelu_fast": _TANH_GELU,
    "gelu_accurate": _TANH_GELU,
    "gelu_pytorch_tanh": _TANH_GELU,
    "gelu_python_tanh": _TANH_GELU,
    "quick_gelu": _quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}


def activation(name: str) -> Activation:
    """The function of a name in `sightline.blip.config_values.ACTIVATIONS`, elementwise."""
    return _KNOWN[name]


def is_erf_gelu(name: str) -> bool:
    """Whether it is the exact GELU, the one that kernels fuse."""
    return _KNOWN[name] is F.gelu
