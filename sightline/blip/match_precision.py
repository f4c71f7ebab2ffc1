"""In which arithmetic pairs are scored: float32, or what a check on real pictures found as good and faster.

Which one that is, `sightline.upkeep.precision_check` measures; here it can be changed while the model is in
use: one reference is exchanged, and who began with another arithmetic ends with it (`PairScorers.pinned`).
"""

from __future__ import annotations

import threading
from copy import copy
from typing import Final

import torch

from sightline.blip import int8_linear
from sightline.blip.packed_linear import has_fast_bf16
from sightline.blip.pair_scoring import PairScorer
from sightline.blip.scored import ScoredNetwork
from sightline.errors import InputError

AUTO: Final = "auto"
_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}


class PairScorers:
    """The scorers of one model, made when they are first needed. Thread-safe."""

    def __init__(self, network: ScoredNetwork, match_dtype: str) -> None:
        """``match_dtype``: ``float32``, ``bfloat16``, ``int8``, or ``auto``: float32 until `adopt`.

        Raises:
            InputError: another name, or int8 where it is not built for.
        """
        if match_dtype != AUTO and match_dtype not in _DTYPES:
            known = ", ".join([AUTO, *_DTYPES])
            raise InputError(f"The match dtype {match_dtype!r} is unknown; use one of {known}.")
        self.is_automatic = match_dtype == AUTO
        self._network = network
        self._dtype = _DTYPES.get(match_dtype, torch.float32)
        self._lock = threading.Lock()
        self._made: dict[torch.dtype, PairScorer] = {}
        if self._dtype == torch.int8 and not self._can_int8():
            raise InputError("The match dtype int8 is not built for this device; use bfloat16 or float32.")

    @property
    def exact(self) -> PairScorer:
        """Float32."""
        return self._scorer(torch.float32)

    @property
    def fast(self) -> PairScorer:
        """The chosen one; the first call lays out its weights, which takes up to a second."""
        return self._scorer(self._dtype)

    @property
    def arithmetic(self) -> str:
        """The name of the chosen one."""
        return _NAMES[self._dtype]

    def offers(self) -> list[str]:
        """What this device multiplies faster than float32, and `adopt` may be given after a check."""
        names = ["int8"] if self._can_int8() and int8_linear.available() else []
        return [*names, "bfloat16"] if has_fast_bf16(self._device) else names

    def adopt(self, arithmetic: str) -> None:
        """From the next call on, ``fast`` is this one. Where the arithmetic was set, nothing happens."""
        if self.is_automatic:
            self._dtype = _DTYPES[arithmetic]

    def pinned(self) -> PairScorers:
        """The same scorers, with the arithmetic of now for good."""
        twin = copy(self)
        twin.is_automatic = False
        return twin

    def trial(self, arithmetic: str) -> PairScorers:
        """With another arithmetic for good; what is made for it is forgotten with it."""
        twin = self.pinned()
        twin._dtype, twin._made = _DTYPES[arithmetic], dict(self._made)
        return twin

    @property
    def _device(self) -> torch.device:
        return self._network.itm_head.weight.device

    def _can_int8(self) -> bool:
        return self._device.type == "cpu" and int8_linear.weight_top() is not None

    def _scorer(self, dtype: torch.dtype) -> PairScorer:
        with self._lock:
            if dtype not in self._made:
                self._made[dtype] = PairScorer(self._network, dtype)
            return self._made[dtype]
