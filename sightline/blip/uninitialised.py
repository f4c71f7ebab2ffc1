"""Modules whose parameters come from a file need no first values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode


class Uninitialised(TorchFunctionMode):
    """While active, ``torch.nn.init`` does nothing.

    On the meta device the normal distribution of an embedding goes through code that imports torch._dynamo
    and sympy: 800 modules, more than a second, for values that nobody sees.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Give back the tensor as it is where it was to be initialised."""
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)
