"""Patches as the cache keeps them: int8 codes of the patches themselves or of a linear latent of them.

Shapes: K images · P patches · V vision width · R latent rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Basis:
    """A linear latent of the patches: ``patches ≈ latent @ components + mean``."""

    id: str
    """Equal ids mean equal numbers: folded weights may be kept by it."""
    components: Tensor
    """``[R,V]`` fp32."""
    mean: Tensor
    """``[V]`` fp32."""

    @property
    def rank(self) -> int:
        """R."""
        return self.components.shape[0]


@dataclass(frozen=True, eq=False)
class Latents:
    """Compressed patches of K images, one codec for all of them."""

    codes: Tensor
    """``[K,P,R]`` int8."""
    scales: Tensor
    """``[K,P]`` fp16: one for each patch."""
    basis: Basis | None
    """None: the codes are those of the patches themselves, R = V."""

    def __len__(self) -> int:
        return len(self.codes)

    def latent(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """``[K,P,R]``: codes times scales."""
        return self.codes.to(dtype) * self.scales.to(dtype)[:, :, None]

    def patches(self) -> Tensor:
        """``[K,P,V]`` fp32, up to what the compression lost."""
        latent_KPR = self.latent()
        if self.basis is None:
            return latent_KPR
        return latent_KPR @ self.basis.components.to(latent_KPR) + self.basis.mean.to(latent_KPR)

    def to(self, device: torch.device) -> Latents:
        """The same on another device."""
        return Latents(self.codes.to(device), self.scales.to(device), self.basis)
